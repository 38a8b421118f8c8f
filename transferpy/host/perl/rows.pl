# Prints the lines of the results on standard input, see perl/results.
# requires: perl/results
use strict;
use warnings;

local $/;
print map {"$_\n"} rows(<STDIN> // '');
close STDOUT or die "cannot write: $!\n";

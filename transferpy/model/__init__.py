"""Values: options, locations, facts and reports."""

# Queries to a database server.
# requires: perl/rows

answer_seconds=60 # the time that a server has to answer: a server that hangs still accepts connections

query() { # STATEMENT CLIENT ...: prints the rows of the result in the format of perl/rows; fails if the client fails
  # An option file can add text and change the format, except for XML. The client ignores these options after --xml.
  timeout "$answer_seconds" "${@:2}" --xml --skip-html --execute "$1" | perl -e "$perl_rows"
}

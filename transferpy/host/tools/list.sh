# Prints a list that a session holds, sorted.
# requires: lib/environment

print_list() { # RUN-DIRECTORY NAME
  sort -z -- "$1/$2" | gzip -c | base64
}

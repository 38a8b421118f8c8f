# Prints a list of a session.
# requires: lib/environment

print_list() { # RUN-DIRECTORY NAME: prints the sorted list, compressed, in base64
  sort -z -- "$1/$2" | gzip -c | base64
}

# Prints a list of a session.
# requires: lib/lists

print_list() { # RUN-DIRECTORY NAME: prints the sorted list, compressed, in base64
  find_lists "$1"
  lists=$REPLY
  sort_list -z -- "$lists/$2" | gzip -c | base64
}

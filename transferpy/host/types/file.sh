# The transfer type "file": a file or a tree, whose manifest both ends compare, and the digests of its files.
# requires: agent/read agent/manifest agent/digests

list_source_file() {
  list_tree_of_source
}

await_source_file() {
  await_manifest
}

check_source_file() { # TASK
  source_is_unchanged "$1" || return
  report_list manifest "$run_directory/manifest"
  [ "$checksum" = no ] || { wait_for_digests "$1" && report_digests; }
}

check_copy_file() {
  run_task manifest list_tree "$source_name" "$run_directory/manifest" "$run_directory/stamps" || exit 1
  report_list manifest "$run_directory/manifest"
  [ "$checksum" = no ] || report_digests || exit 1
}

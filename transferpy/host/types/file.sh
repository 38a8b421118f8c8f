# The transfer type "file": a file or a tree, whose manifest both ends compare, and the digests of its files.
# requires: agent/read agent/manifest agent/digests agent/distribution agent/owner

list_source_file() {
  list_tree_of_source
  during_send+=(digest_source)
}

digest_source() { # TASK
  start_digests digest_files read "$1"
}

digest_copy_file() {
  digest_files written
}

await_source_file() {
  await_manifest && distribute_entries
}

check_source_file() { # TASK
  local message lane files=()
  source_is_unchanged "$1" || return
  # tar exits with 0 also if it could not read an attribute. Some file systems have none. All other messages are faults.
  for lane in "${lanes[@]}"; do files+=("$run_directory/$1$lane.$((${#lanes[@]} > 1)).err"); done # in lanes, its names come first
  message=$(grep -havxEm 3 -e 'tar: .*: Warning: Cannot [a-z_]+: Operation not supported' -- "${files[@]}" 2>&1)
  (($? == 1)) || fail content "the source could not be read completely: $message"
  report_lists
  [ "$checksum" = no ] || { wait_for_digests "$1" && report_digests; }
}

check_copy_file() {
  # Lists made before the change of the owner would not be those of the copy on the disk.
  [ -z "$owner" ] || run_task owner set_owner "./$source_name" || exit 1
  run_task manifest list_tree "$source_name" "$lists" /dev/null || exit 1
  report_lists
  [ "$checksum" = no ] || report_digests || exit 1
}

report_lists() {
  report_list manifest "$lists/manifest"
  report_list attributes "$lists/attributes"
}

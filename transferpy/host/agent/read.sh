# The ability "read": the session reads the source. Each transfer type defines its functions list_source_TYPE, which is called
# at the beginning, await_source_TYPE, which is called before each stream, and check_source_TYPE, which is called after it.
# requires: agent/main agent/streams agent/directories agent/manifest agent/sampling

prepare_read() {
  before_send+=("await_source_$transfer_type")
  after_send+=("check_source_$transfer_type")
  # A sample is taken of the files in the manifest, while the key is made.
  [ ${#benchmarked[@]} -eq 0 ] || on_task_end+=([manifest]=start_sample [sample]=report_sample)
  "list_source_$transfer_type"
}

list_tree_of_source() {
  local entries=/dev/null
  [ "$distributes" = no ] || entries=$lists/entries
  enter_directory "$source_directory"
  start_task manifest list_tree "$source_name" "$lists" "$lists/stamps" "$entries"
}

await_manifest() { # a change of the source can be detected only if the list is complete before the first byte is read
  wait_for_task manifest
  task_succeeded manifest || report_task manifest
}

source_is_unchanged() { # TASK: compares the source with the lists from before the stream; reports the paths that changed
  local list changed=()
  mkdir -p -- "$lists/again" || fail host "cannot write in $lists: is it full?"
  run_task stamps list_tree "$source_name" "$lists/again" || return
  for list in manifest stamps attributes; do
    cmp -s -- "$lists/$list" "$lists/again/$list" || changed+=("$list")
  done
  [ ${#changed[@]} -gt 0 ] || return 0
  emit changed job="$1" paths="$(for list in "${changed[@]}"; do comm -z -3 -- "$lists/$list" "$lists/again/$list"; done |
    sed -z 's,^\t*\./,,; s,//.*,,' | sort_list -zur | head -zn 5 | base64 -w0)"
  return 1
}

wait_for_digests() { # TASK: waits for the digests of the source, while the source does not change
  # The reader of a file that grows all the time never comes to its end. To compare many files takes long, so each interval is
  # twice as long as the one before.
  local began interval=60
  read_uptime
  began=$REPLY
  while [ -z "${task_statuses[digest]-}" ]; do
    wait_for_message 1
    read_uptime
    ((REPLY - began >= interval * 100)) || continue
    source_is_unchanged "$1" || return
    interval=$((interval * 2))
  done
}

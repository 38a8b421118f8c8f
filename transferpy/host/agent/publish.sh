# The ability "publish": the session gives the copy its final name, after all checks.
# requires: agent/main agent/streams agent/unpack agent/owner lib/filesystems

prepare_publish() {
  after_receive+=(allow_publishing)
}

allow_publishing() {
  command_handler[publish]=publish_copy
}

publish_copy() { # ends the session
  local made=/proc/self/fd/$target/.
  [ "$prepare" = no ] || "prepare_copy_$transfer_type"
  if [ "$transfer_type" = file ]; then
    # Its owner was set before its lists were compared.
    run_task sync write_copy "./$source_name" || exit 1
    publish_entry
  else
    [ -z "$owner" ] || run_task owner set_owner . || exit 1
    run_task sync write_copy . || exit 1
    publish_content
  fi
  read_filesystem "$made"
  emit published ${made_target:+$(stat -c 'inode=%i born=%W published=%Y' "$made") filesystem="$REPLY"}
  exit 0
}

publish_entry() { # renames the copy to its final name; never replaces another file
  local final=/proc/self/fd/$target/$final_name
  [ -e "./$source_name" ] || [ -L "./$source_name" ] || fail publish "the staged copy was removed during the run"
  { [ ! -e "$final" ] && [ ! -L "$final" ]; } || fail publish "$target_directory/$final_name was created by another program during the run"
  [ "$source_name" = "$final_name" ] || mv -T -- "./$source_name" "./$final_name" 2>"$run_directory/publish.err" ||
    fail publish "cannot rename the copy: $(last_error publish.err)"
  printf '%s\0' "$final_name" | identify >"$run_directory/published" || fail_cannot_write
  publish_entries
  mark_complete
  commit_published
}

publish_content() { # moves all entries of the working directory to the target directory, or none
  local last_names=('(' -name ibdata1 -o -name mysql -o -name '*_info' ')')
  target_is_empty || fail publish "$target_directory is not empty any more"
  # If both have the directory lost+found, that of the target directory stays.
  [ ! -d "/proc/self/fd/$target/lost+found" ] || rmdir -- lost+found 2>/dev/null
  # Without the last entries, no server starts on a part of the copy. The host may lose power in between.
  {
    find . -mindepth 1 -maxdepth 1 ! "${last_names[@]}" -printf '%P\0' | sort -z &&
      find . -mindepth 1 -maxdepth 1 "${last_names[@]}" -printf '%P\0' | sort -z
  } | identify >"$run_directory/published" || fail_cannot_write
  publish_entries
  mark_complete
  [ -z "$owner" ] || chown -- "$owner" "/proc/self/fd/$target/." || fail publish "cannot set the owner of $target_directory"
  commit_published
}

publish_entries() { # moves the entries in the list "published" to the target directory
  local place identity
  IFS= read -r -d '' place < <(readlink -z "/proc/self/fd/$target")
  # The second record is that of the target directory.
  { IFS= read -r -d '' _ && IFS=' ' read -r -d '' identity _; } <"$run_directory/staging" ||
    fail host "cannot read $run_directory/staging"
  on_undo publish unpublish "$place" "$identity"
  start_task publish move_published
  wait_for_task publish
  task_succeeded publish || fail publish "cannot move the copy to $target_directory: $(last_error publish.err)"
}

move_published() {
  move_entries all . "/proc/self/fd/$target" <"$run_directory/published"
}

mark_complete() { # from here on the copy may be in use, even if the session is killed before it reports that
  : >"$run_directory/complete" || fail_cannot_write
}

commit_published() { # writes the names in the target directory to disk, where the data is already; the copy stays from now on
  sync -- "/proc/self/fd/$target/." 2>"$run_directory/sync.err" ||
    fail publish "cannot write $target_directory to disk: $(<"$run_directory/sync.err")"
  rm -f -- "$run_directory"/undo.*.publish "$run_directory"/undo.*.target
}

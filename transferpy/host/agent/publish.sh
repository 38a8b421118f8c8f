# The ability "publish": the session gives the copy its final name, after all checks.
# requires: agent/main agent/streams agent/unpack

prepare_publish() {
  after_receive+=(allow_publishing)
}

allow_publishing() {
  command_handler[publish]=publish_copy
}

publish_copy() { # ends the session
  local made=/proc/self/fd/$target/.
  [ "$prepare" = no ] || run_task prepare "prepare_copy_$transfer_type" || exit 1
  if [ "$transfer_type" = file ]; then
    chown_and_sync "./$source_name" && publish_entry
  else
    chown_and_sync . && publish_content
  fi
  emit published ${made_target:+inode="$(stat -c %i "$made")" born="$(stat -c %W "$made")"}
  exit 0
}

chown_and_sync() { # PATH: sets the owner of the copy, if one was given, and writes the copy to disk
  [ -z "$owner" ] || run_task owner chown -hR -- "$owner" "$1" || exit 1
  run_task sync sync -f . || exit 1
}

publish_entry() { # renames the copy to its final name; never replaces another file
  local final=/proc/self/fd/$target/$final_name identity
  identity=$(stat -c %d:%i -- "./$source_name") || fail publish "the staged copy was removed during the run"
  { [ ! -e "$final" ] && [ ! -L "$final" ]; } || fail publish "$target_directory/$final_name was created by another program during the run"
  printf '%s %s\0' "$identity" "$final_name" >"$run_directory/published" || fail_cannot_write
  unpublish_on_failure
  move_staged "$source_name" "$final_name" "$identity" ||
    fail publish "cannot rename the copy to $target_directory/$final_name: $(<"$run_directory/mv.err")"
  mark_complete
  commit_published
}

publish_content() { # moves all entries of the working directory to the target directory, or none
  local record name
  local last_names=('(' -name ibdata1 -o -name mysql -o -name '*_info' ')')
  target_is_empty || fail publish "$target_directory is not empty any more"
  # If both have the directory lost+found, that of the target directory stays.
  [ ! -d "/proc/self/fd/$target/lost+found" ] || rmdir -- lost+found 2>/dev/null
  # Without the last entries, no server starts on a part of the copy. The host may lose power in between.
  {
    find . -mindepth 1 -maxdepth 1 ! "${last_names[@]}" -printf '%D:%i %P\0' | sort -z -k 2 &&
      find . -mindepth 1 -maxdepth 1 "${last_names[@]}" -printf '%D:%i %P\0' | sort -z -k 2
  } >"$run_directory/published" || fail_cannot_write
  unpublish_on_failure
  while IFS= read -r -d '' record; do
    ! heartbeat_is_due || wait_for_message 0.01
    name=${record#* }
    move_staged "$name" "$name" "${record%% *}" ||
      fail publish "cannot move $name to $target_directory: $(<"$run_directory/mv.err")"
  done <"$run_directory/published"
  mark_complete
  [ -z "$owner" ] || chown -- "$owner" "/proc/self/fd/$target/." || fail publish "cannot set the owner of $target_directory"
  commit_published
}

move_staged() { # NAME FINAL-NAME IDENTITY: moves an entry from the staging directory to the target directory
  # Before version 9.2 of coreutils, mv -n succeeds also if it does not move the entry.
  mv -nT -- "./$1" "/proc/self/fd/$target/$2" 2>"$run_directory/mv.err"
  [ "$(stat -c %d:%i -- "/proc/self/fd/$target/$2" 2>/dev/null)" = "$3" ]
}

unpublish_on_failure() { # removes the entries in the list "published" again if the session fails from here on
  local place
  IFS= read -r -d '' place < <(readlink -z "/proc/self/fd/$target")
  on_undo publish unpublish "$place"
}

mark_complete() { # from here on the copy may be in use, even if the session is killed before it reports that
  : >"$run_directory/complete" || fail_cannot_write
}

commit_published() { # writes the names in the target directory to disk, where the data is already; the copy stays from now on
  sync -- "/proc/self/fd/$target/." 2>"$run_directory/sync.err" ||
    fail publish "cannot write $target_directory to disk: $(<"$run_directory/sync.err")"
  rm -f -- "$run_directory"/undo.*.publish "$run_directory"/undo.*.target
}

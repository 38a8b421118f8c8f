# The final name of the copy that a session has received and checked.
# requires: agent/target agent/tasks

give_away() { # PATH: gives it to its new owner, if one was asked for, and to the disk
  [ -z "$owner" ] || run_job owner chown -hR -- "$owner" "$1" || exit 1
  run_job sync sync -f . || exit 1
}

publish_entry() { # gives the checked copy its final name, and never takes that name from anything
  local final=/proc/self/fd/$target/$final_name identity
  identity=$(stat -c %d:%i -- "./$source_name") || fail publish "the staged copy has vanished"
  [ ! -e "$final" ] && [ ! -L "$final" ] || fail publish "$target_directory/$final_name exists by now"
  printf '%s %s\0' "$identity" "$final_name" >"$run_directory/published" ||
    fail host "cannot write in $run_directory: is it full?"
  take_back_on_failure
  # mv -n of coreutils before 9.2 says nothing when it does not move; so the outcome is looked at.
  mv -nT -- "./$source_name" "$final" 2>"$run_directory/mv.err"
  [ "$(stat -c %d:%i -- "$final" 2>/dev/null)" = "$identity" ] ||
    fail publish "cannot rename the copy to $target_directory/$final_name: $(<"$run_directory/mv.err")"
  mark_complete
  keep_published
}

take_back_on_failure() { # has what the list "published" names removed again if the session fails from here on
  local place
  IFS= read -r -d '' place < <(readlink -z "/proc/self/fd/$target")
  on_undo publish take_back "$place"
}

mark_complete() { # from here on the copy may be in use, even if this session is killed before it can say so
  : >"$run_directory/complete" || fail host "cannot write in $run_directory: is it full?"
}

keep_published() { # gives the names in the target directory to the disk; the data is there already
  sync -- "/proc/self/fd/$target/." 2>"$run_directory/sync.err" ||
    fail publish "cannot write $target_directory to disk: $(<"$run_directory/sync.err")"
  rm -f -- "$run_directory"/undo.*.publish "$run_directory"/undo.*.target
}

publish_content() { # moves what is in the working directory to the target itself: all of it, or nothing
  local record name last=('(' -name ibdata1 -o -name mysql -o -name '*_info' ')')
  target_is_empty || fail publish "$target_directory is not empty any more"
  # The target has its own; an empty one of the source's is nothing.
  [ ! -d "/proc/self/fd/$target/lost+found" ] || rmdir -- lost+found 2>/dev/null
  # Without the last of them no server starts on what is there so far, should the host go down in between.
  {
    find . -mindepth 1 -maxdepth 1 ! "${last[@]}" -printf '%D:%i %P\0' | sort -z -k 2 &&
      find . -mindepth 1 -maxdepth 1 "${last[@]}" -printf '%D:%i %P\0' | sort -z -k 2
  } >"$run_directory/published" || fail host "cannot write in $run_directory: is it full?"
  take_back_on_failure
  while IFS= read -r -d '' record; do
    ((EPOCHSECONDS == last_beat)) || watch 0.01 # so that nobody takes the session for dead
    name=${record#* }
    # As in publish_entry, the outcome is looked at.
    mv -nT -- "./$name" "/proc/self/fd/$target/$name" 2>"$run_directory/mv.err"
    [ "$(stat -c %d:%i -- "/proc/self/fd/$target/$name" 2>/dev/null)" = "${record%% *}" ] ||
      fail publish "cannot move $name to $target_directory: $(<"$run_directory/mv.err")"
  done <"$run_directory/published"
  mark_complete
  [ -z "$owner" ] || chown -- "$owner" "/proc/self/fd/$target/." || fail publish "cannot set the owner of $target_directory"
  keep_published
}

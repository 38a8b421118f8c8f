# The ability "unpack": the session unpacks a copy in a staging directory inside the target directory.
# requires: agent/main agent/streams agent/directories agent/storage lib/directories perl/flush

made_target='' # yes if this session made it

prepare_unpack() {
  [ "$create_target" = no ] || make_target "$target_directory"
  enter_directory "$target_directory"
  # The descriptor is used for all further work: a user who can rename directories on the path cannot redirect the session.
  exec {target}<.
  [ "$transfer_type" = file ] || lock_target
  on_undo staging remove_staging "$PWD/$staging_name"
  make_staging || fail host "cannot make a directory in $target_directory"
  on_failure+=(examine_storage)
  during_receive+=(digest_copy)
  while_receiving+=(write_behind)
  after_receive+=(fail_for_messages finish_writing)
}

make_target() { # DIRECTORY: makes it with all missing directories above it; all of them are removed if the session fails
  local path=$1 missing=()
  [[ $path == /* ]] || path=$PWD/$path
  # A name with a slash at its end would be a second name of a directory that this function has just made.
  while [[ $path == ?*/ ]]; do path=${path%/}; done
  while [ ! -e "$path" ] && [ ! -L "$path" ]; do
    missing=("$path" "${missing[@]}")
    path=${path%/*}
    path=${path:-/}
  done
  [ ${#missing[@]} -eq 0 ] || on_undo target remove_made_directories
  for path in "${missing[@]}"; do
    if make_directory "$path" 2>"$run_directory/mkdir.err"; then
      made_target=yes
      printf '%s\0' "$path" | identify >>"$run_directory/made" || fail_cannot_write
    else
      # Another run may have made it in the meantime.
      [ -d "$path" ] || fail host "cannot make the directory $path: $(last_error mkdir.err)"
      made_target=''
    fi
  done
}

lock_target() { # keeps other runs out of the target directory, which has to be empty
  flock -n "$target" || fail host "another transfer uses $target_directory"
  target_is_empty || fail host "$target_directory is not empty"
}

target_is_empty() {
  finds_nothing "/proc/self/fd/$target/" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name "$staging_name"
}

make_staging() { # makes the staging directory and enters it; fails if another user has replaced it
  make_directory "$staging_name" 2>/dev/null && cd -P -- "$staging_name" || return
  # A user who can write in the target directory may have replaced it by a link to another directory.
  [ .. -ef "/proc/self/fd/$target/." ] && [ -O . ] && [[ $(stat -c %a .) == *700 ]] &&
    finds_nothing . -mindepth 1 || return
  exec {staging}<.
  # publish_entries needs the second one.
  printf '%s\0' . "/proc/self/fd/$target/." | identify >"$run_directory/staging" || fail_cannot_write
  # The copy may set the owner and the mode of the directory in which it is unpacked. Other users cannot reach the inner one.
  mkdir -m 700 taken content && cd content || return
}

digest_copy() {
  start_digests "digest_copy_$transfer_type"
}

on_disk=0 # the number of bytes of the stream after which the last sync began

write_behind() { # BYTES: writes what has arrived to disk while the stream flows, so that its end waits for less
  [ "$checksum" = no ] || return 0 # the digester writes each file to disk before it reads the file
  (($1 - on_disk >= 64 << 20)) || return 0
  [ -z "${task_pid[sync]-}" ] || [ -n "${task_statuses[sync]-}" ] || return 0
  on_disk=$1
  start_task sync sync -f .
}

finish_writing() { # waits for the last sync of write_behind; its error may be that of another run
  [ -z "${task_pid[sync]-}" ] || wait_for_task sync
}

write_copy() { # PATH: writes the copy to disk; fails if data could not be written
  if [ "$checksum" = yes ] && [ "$prepare" = no ]; then
    # The digester has read all data back from the disk, so an error is that of another run.
    sync -f . 2>/dev/null || return 0
  else
    find "$1" -type f -print0 | perl -e "$perl_flush" -- "$target"
  fi
}

# tar prints the first two lines for every file on a file system without ACLs. An ACL that is really lost is an extended attribute
# that tar cannot set. The third line is an error of the check of tarballs.
known_messages="acl_set_file_at: Cannot set POSIX ACLs for file '.*': Operation not supported"
known_messages+="|acl_delete_def_file_at: Cannot drop default POSIX ACLs for file '.*': Operation not supported"
known_messages+='|Removing leading `.*'

fail_for_messages() { # tar and mbstream exit with 0 also after some faults. They print nothing but faults.
  local statuses message lane files=()
  read -ra statuses <<<"${task_statuses[receive]}"
  for lane in "${lanes[@]}"; do files+=("$run_directory/receive$lane.$((${#statuses[@]} - 1)).err"); done
  message=$(grep -havxEm 3 -e "tar: ($known_messages)" -- "${files[@]}" 2>&1)
  (($? != 1)) || return 0
  examine_storage
  [[ $message != *"' extended attribute for "* ]] || fail attributes "the file system cannot hold all attributes: $message"
  fail content "the copy could not be unpacked completely: $message"
}

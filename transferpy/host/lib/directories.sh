# Directories that a run makes, and the commands of undo entries that remove them and take back a copy.
#
# Nothing is removed by its name alone. The identity of a file has the generation of its inode, see perl/files. What this run made
# is removed from within a directory that only root can enter, where no other user can replace it.
# requires: lib/undo perl/directories

target=''  # a descriptor of the target directory, in the session of a target
staging='' # a descriptor of the staging directory

make_directory() { # PATH: makes a directory that only root can enter, without an ACL
  perl -e "$perl_directories" make_private "$1"
}

identify() { # prints a record "IDENTITY NAME" for each name on standard input; a null byte ends each of them
  perl -e "$perl_directories" identify
}

move_entries() { # WHICH FROM TO: moves the entries of the records on standard input, and replaces nothing
  perl -e "$perl_directories" move "$@"
}

read_identity() { # FILE: sets REPLY to the identity in the first record of a file
  { IFS=' ' read -r -d '' REPLY _ <"$1"; } 2>/dev/null
}

enter_recorded() { # PATH IDENTITY: enters a directory that was at PATH; returns 2 if it does not exist any more
  local path
  # A path can end with a newline.
  path=$(perl -e "$perl_directories" locate "$1" "$2" && echo x) || return 1
  path=${path%x}
  [ -n "$path" ] || return 2
  cd -P -- "$path" && read_identity <(printf '.\0' | identify) && [ "$REPLY" = "$2" ] && return 0
  echo "$path was replaced by another directory" >&2
  return 1
}

read_own_path() { # sets REPLY to the path of the working directory, also if it was renamed
  IFS= read -r -d '' REPLY < <(readlink -z /proc/self/cwd)
}

has_mounts() { # succeeds if a file system is mounted below the working directory, such as another directory of the same disk
  local point
  read_own_path
  while read -r _ _ _ _ point _; do
    # shellcheck disable=SC2059 # a blank is written as \040
    printf -v point "${point//%/%%}"
    [[ $point != "$REPLY"/* ]] || return 0
  done </proc/self/mountinfo
  return 1
}

finds_nothing() { # ARGUMENT ...: succeeds if find has run and found nothing
  # A search that fails must not count as one that finds nothing: what was not found is then removed, or taken for free.
  local found
  found=$(find "$@" -printf x -quit) && [ -z "$found" ] || return 1
}

remove_working_directory() { # removes the working directory with its content
  if has_mounts; then
    echo "a file system is mounted below $REPLY" >&2
    return 1
  fi
  find . -xdev -ignore_readdir_race -mindepth 1 -delete && remove_own_name || return 1
}

remove_own_name() { # removes the working directory, which is empty, also if another process renames it meanwhile
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    read_own_path
    [[ $REPLY != *' (deleted)' || $REPLY -ef . ]] || return 0
    rmdir -- "$REPLY" 2>/dev/null || sleep 0.01
  done
  echo "the directory $REPLY cannot be removed" >&2
  return 1
}

remove_staging() { # PATH: removes the staging directory that was made there
  local status
  if [ -n "$staging" ]; then
    cd -P "/proc/self/fd/$staging/." || return 1
  elif read_identity "${entry%/*}/staging"; then
    enter_recorded "$1" "$REPLY" || {
      status=$?
      [ "$status" -eq 2 ] || return 1
      return 0
    }
  else
    # The session was killed before it recorded the identity, so the directory has no content; or it has not made the directory,
    # because another user was faster.
    { [ ! -L "$1" ] && [ -d "$1" ] && [ -O "$1" ]; } || return 0
    rmdir -- "$1" || return 1
    return 0
  fi
  remove_working_directory || return 1
}

remove_made_directories() { # removes the directories that the session made for its target, if they are empty
  local records=() index
  mapfile -d '' -t records 2>/dev/null <"${entry%/*}/made"
  for ((index = ${#records[@]} - 1; index >= 0; index--)); do
    enter_recorded "${records[index]#* }" "${records[index]%% *}" 2>/dev/null || continue
    ! finds_nothing . -mindepth 1 || remove_own_name || return 1
  done
}

unpublish() { # PATH IDENTITY: takes the entries that the session has published back from the target directory, which was at PATH
  local directory=${entry%/*} status=0
  # A session that is alive has failed when it gets here. Its recovery must not take the copy for complete.
  rm -f -- "$directory/complete" || return 1
  if [ -n "$staging" ]; then
    cd -P "/proc/self/fd/$target/." || return 1
    move_entries proven . "/proc/self/fd/$staging/taken" <"$directory/published" || status=1
    # Otherwise, another process has written into the copy.
    finds_nothing "/proc/self/fd/$staging/taken" -mindepth 1 -newer "$directory/published" ||
      set_aside "/proc/self/fd/$staging/taken" || status=1
  else
    enter_recorded "$1" "$2" || status=$?
    [ "$status" -ne 2 ] || return 0
    [ "$status" -eq 0 ] || return 1
  fi
  set_aside . || status=1
  return "$status"
}

set_aside() { # FROM: moves the published entries in FROM to a new directory in the working directory, and reports that
  # The copy may not keep its final name. It may be in use, or its identity may not be proven: it is not removed.
  local run=${entry%/*} aside status=0
  run=${run##*/run.}
  aside=$(mktemp -du -- "transferpy-incomplete-${run%.*.*}-XXXXXX") || return 1
  move_entries similar "$1" "./$aside" <"${entry%/*}/published" || status=1
  [ ! -d "$aside" ] || { read_own_path && emit set-aside path="$(encode "$REPLY/$aside")"; }
  return "$status"
}

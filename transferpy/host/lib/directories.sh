# The commands of undo entries that remove files and directories.
# requires: lib/environment

remove_directory() { # PATH: removes a staging directory that this run made
  [ -L "$1" ] || [ ! -d "$1" ] || rm -rf --one-file-system -- "$1"
}

remove_empty_directory() { # PATH: removes a directory that this run made, unless it has become somebody's
  rmdir -- "$1" 2>/dev/null || return 0
}

take_back() { # DIRECTORY: removes from it what a session that could not finish had published so far
  local record name
  # A session that is alive knows that it failed; what begins here is finished even if it is killed meanwhile.
  rm -f -- "${entry%/*}/complete" || return 1
  while IFS= read -r -d '' record; do
    name=${record#* }
    # What has the name but is something else was put there by others.
    [ "$(stat -c %d:%i -- "$1/$name" 2>/dev/null)" != "${record%% *}" ] || rm -rf --one-file-system -- "${1:?}/$name" || return 1
  done <"${entry%/*}/published"
}

remove_lock_file() { # PATH: removes the lock file of a port or a server, unless another run holds it by now
  local lock
  { exec {lock}<"$1"; } 2>/dev/null || return 0
  # A process that inherited the lock may take a moment to end.
  if flock -w 1 "$lock" && [ "$1" -ef "/proc/self/fd/$lock" ]; then
    rm -f -- "$1"
  fi
  exec {lock}<&-
}

remove_run_directory() { # PATH
  local file
  rm -rf -- "$1"
  # A run that lives may need the lock of its server again, on a disk that is full by then.
  compgen -G "$run_root/run.*" >/dev/null || for file in "$run_root"/server.*; do remove_lock_file "$file"; done
  rmdir -- "$run_root" 2>/dev/null
  return 0
}

# Lock files: flock on a file, which its holder removes.
# requires: lib/environment

lock='' # the descriptor of the lock that was taken last, until the caller keeps it elsewhere

take_lock() { # FILE FLOCK-OPTION ...: sets lock; returns 1 if another process has the lock, 2 on an error
  exec {lock}>>"$1" || return 2
  # Another process may have removed the file between open and flock; then the lock excludes nobody.
  ! flock "${@:2}" "$lock" || [ ! "$1" -ef "/proc/self/fd/$lock" ] || return 0
  exec {lock}>&-
  lock=''
  return 1
}

remove_lock_file() { # FILE: removes a lock file, unless another process holds the lock
  local lock
  { exec {lock}<"$1"; } 2>/dev/null || return 0
  # A process that inherited the lock may take a moment to end.
  if flock -w 1 "$lock" && [ "$1" -ef "/proc/self/fd/$lock" ]; then
    rm -f -- "$1"
  fi
  exec {lock}<&-
}

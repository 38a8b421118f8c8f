# Run directories: each session has one, with the process ID and the start time of the session in its name.
#
# The lists of a session have a directory of their own, on disk: /run is in memory.
# requires: lib/processes lib/locks lib/lists

readonly run_root=/run/transferpy
run_directory='' # that of this session

run_is_alive() { # DIRECTORY: succeeds while the session with that run directory runs
  local start=${1##*.} name=${1%.*}
  read_start_time "${name##*.}" && [ "$REPLY" = "$start" ]
}

remove_stale_lists() { # a directory of lists is stale once its session has ended: nothing else reads them
  local directory
  for directory in "$lists_root"/transferpy.run.*; do
    # Other users can make a directory of such a name.
    { [ -d "$directory" ] && [ -O "$directory" ] && [ ! -L "$directory" ]; } || continue
    run_is_alive "$directory" || rm -rf -- "$directory"
  done
}

remove_run_directory() { # PATH
  local file
  rm -rf -- "$1"
  # A session that is alive may need the lock file of its server again, and the disk may be full by then.
  compgen -G "$run_root/run.*" >/dev/null || for file in "$run_root"/server.*; do remove_lock_file "$file"; done
  rmdir -- "$run_root" 2>/dev/null
  return 0
}

# Run directories: each session has one, with the process ID and the start time of the session in its name.
# requires: lib/processes lib/locks

readonly run_root=/run/transferpy
run_directory='' # that of this session

run_is_alive() { # DIRECTORY: succeeds while the session with that run directory runs
  local start=${1##*.} name=${1%.*}
  read_start_time "${name##*.}" && [ "$REPLY" = "$start" ]
}

remove_run_directory() { # PATH
  local file
  rm -rf -- "$1"
  # A session that is alive may need the lock file of its server again, and the disk may be full by then.
  compgen -G "$run_root/run.*" >/dev/null || for file in "$run_root"/server.*; do remove_lock_file "$file"; done
  rmdir -- "$run_root" 2>/dev/null
  return 0
}

# Processes: their identity and their priority.
# requires: lib/environment

read_stat() { # PID: sets the array stat to the fields of /proc/PID/stat after the name; fails if the process does not exist
  local line=''
  { IFS= read -r -d '' line <"/proc/$1/stat"; } 2>/dev/null
  # The name of the command is in parentheses and can contain any character.
  read -ra stat <<<"${line##*) }"
  [ -n "${stat[19]-}" ]
}

read_start_time() { # PID: sets REPLY to the start time of the process; with the PID, it identifies one process
  local stat
  read_stat "$1" && REPLY=${stat[19]}
}

is_own_process() { # PID: succeeds if this user started the process; root also runs set-uid programs of other users
  local line
  while read -ra line; do
    [ "${line[*]:0:2}" != "Uid: $UID" ] || return 0
  done 2>/dev/null <"/proc/$1/status"
  return 1
}

lower_priority() { # runs this process and its children with low CPU and I/O priority
  renice -n 19 -p $$ >/dev/null 2>&1
  # The lowest priority that still gets time on a busy disk: a stream without progress would be taken for dead.
  ! command -v ionice >/dev/null || ionice -c 2 -n 7 -p $$ 2>/dev/null
}

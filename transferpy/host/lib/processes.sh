# Processes: their identity, their progress and their priority.
#
# Every file of /proc is read once, to its end. If a process ends while a part is unread, that part stays in the buffer of
# bash, and the next read of any file returns it.
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
  local status=''
  { IFS= read -r -d '' status <"/proc/$1/status"; } 2>/dev/null
  [[ $status == *$'\nUid:\t'"$UID"$'\t'* ]]
}

read_bytes_read() { # PID: sets REPLY to the number of bytes that the process and its children that ended have read
  local io=''
  { IFS= read -r -d '' io <"/proc/$1/io"; } 2>/dev/null
  [[ $io =~ ^rchar:\ ([0-9]+) ]] && REPLY=${BASH_REMATCH[1]}
}

lower_priority() { # runs this process and its children with low CPU and I/O priority
  renice -n 19 -p $$ >/dev/null 2>&1
  # The lowest priority that still gets time on a busy disk: a stream without progress would be taken for dead.
  ! command -v ionice >/dev/null || ionice -c 2 -n 7 -p $$ 2>/dev/null
}

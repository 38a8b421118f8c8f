# Ends a remote command with all its processes.
# requires: lib/termination

end_command() { # IDENTIFIER PID GRACE TIME: TERM to the first process, and KILL to all after GRACE hundredths of a second
  # A PID of 0 stands for an unknown one. Prints the processes that still run TIME hundredths of a second after KILL, and fails.
  local processes=() first=$2
  if [ "$first" = 0 ]; then
    find_command "$1"
    find_first_process
  else
    # Another process may have the number of a command that has ended; then no process of the command is left.
    [ ! -d "/proc/$first" ] || is_command "$1" "$first" || return 0
    add_process "$first"
    find_command_processes "$@"
  fi
  [ -z "${processes[$first]-}" ] || terminate "$first" "${processes[$first]}" "$3"
  kill_until_ended "$4" sleep find_command_processes "$@" && return
  echo "processes that SIGKILL did not end: ${!processes[*]}"
  return 1
}

is_command() { # IDENTIFIER PID: succeeds if the process belongs to that command, also if its memory cannot be read in time
  local pids
  is_own_process "$2" || return
  search_memory "$1" "/proc/$2"
  (($? != 1))
}

find_command_processes() { # IDENTIFIER PID ...: a search for the processes of a command, whose first process leads a process session
  { [ "$2" = 0 ] || find_session "$2"; } && find_command "$1" || return
  # A process with an environment and a session of its own is found as long as its parent runs.
  add_descendants
}

find_first_process() { # sets first to the PID of the first process: the oldest; the others are its subshells and its programs
  local pid
  for pid in "${!processes[@]}"; do
    ((first)) && ((processes[pid] > processes[first] || processes[pid] == processes[first] && pid > first)) || first=$pid
  done
}

terminate() { # PID START GRACE: TERM to the process with this start time
  local processes=([$1]=$2)
  signal_until_ended TERM "$3" sleep true
}

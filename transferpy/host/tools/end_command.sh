# Ends a remote command with all its processes.
# requires: lib/termination

end_command() { # IDENTIFIER PID GRACE TIME: TERM to the first process, and KILL to all after GRACE hundredths of a second
  # A PID of 0 stands for an unknown one. Prints the processes that still run TIME hundredths of a second after KILL, and fails.
  local -A found=()
  local first=$2
  find_command "$1"
  [ "$first" -gt 0 ] || find_first_process "$1"
  [ -z "${found[$first]-}" ] || terminate "$first" "${found[$first]}" "$3"
  kill_until_ended "$4" find_command "$1" && return
  echo "processes that SIGKILL did not end: ${!found[*]}"
  return 1
}

find_first_process() { # IDENTIFIER: sets first to the PID of the first process
  # Among the processes with the identifier in their argument list it is the oldest; the others are its subshells.
  local pids pid
  search_proc "$1" -lzxF cmdline
  for pid in "${pids[@]}"; do
    [ -n "${found[$pid]-}" ] || continue
    ((first)) && ((found[$pid] > found[$first] || found[$pid] == found[$first] && pid > first)) || first=$pid
  done
}

terminate() { # PID START GRACE: TERM to the process with this start time
  local -A found=([$1]=$2)
  signal_until_ended TERM "$3" true
}

# Ends a remote command with all its processes.
# requires: lib/termination

end_command() { # IDENTIFIER PID GRACE TIME: TERM to the first process, and KILL to all after GRACE hundredths of a second
  # A PID of 0 stands for an unknown one. Prints the processes that still run TIME hundredths of a second after KILL, and fails.
  local processes=()
  local first=$2
  find_command_tree "$1"
  [ "$first" -gt 0 ] || find_first_process "$1"
  [ -z "${processes[$first]-}" ] || terminate "$first" "${processes[$first]}" "$3"
  kill_until_ended "$4" sleep find_command_tree "$1" && return
  echo "processes that SIGKILL did not end: ${!processes[*]}"
  return 1
}

find_command_tree() { # IDENTIFIER: a search for the processes of a remote command and their descendants
  find_command "$1"
  add_descendants
}

add_descendants() { # adds the descendants of all processes that were found
  local index file child children queue=("${!processes[@]}")
  for ((index = 0; index < ${#queue[@]}; index++)); do
    for file in "/proc/${queue[index]}"/task/*/children; do
      children=()
      read -ra children <"$file"
      for child in "${children[@]}"; do
        [ -n "${processes[$child]-}" ] || ! add_process "$child" || queue+=("$child")
      done
    done
  done 2>/dev/null
}

find_first_process() { # IDENTIFIER: sets first to the PID of the first process
  # Among the processes with the identifier in their argument list it is the oldest; the others are its subshells.
  local pids pid
  search_proc "$1" -lzxF cmdline
  for pid in "${pids[@]}"; do
    [ -n "${processes[$pid]-}" ] || continue
    ((first)) && ((processes[pid] > processes[first] || processes[pid] == processes[first] && pid > first)) || first=$pid
  done
}

terminate() { # PID START GRACE: TERM to the process with this start time
  local processes=([$1]=$2)
  signal_until_ended TERM "$3" sleep true
}

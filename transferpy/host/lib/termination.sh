# Termination: the search for processes, and their end.
#
# The functions keep processes in the array "processes" of their caller: the start time of each process, by its PID. The kernel
# reuses a PID, so the PID alone does not identify a process. A search is a function that adds processes to that array.
# requires: lib/processes lib/clock

add_process() { # PID: adds a process; fails if it is a zombie or this process
  local stat
  [ "$1" != "$$" ] && [ "$1" != "$BASHPID" ] && read_stat "$1" && [[ ${stat[0]} != [ZX] ]] && processes[$1]=${stat[19]}
}

remove_ended() { # removes the processes that have ended
  local pid start
  for pid in "${!processes[@]}"; do
    start=${processes[$pid]}
    unset "processes[$pid]"
    ! add_process "$pid" || [ "${processes[$pid]}" = "$start" ] || unset "processes[$pid]"
  done
}

search_proc() { # PATTERNS OPTION FILE ...: sets the array pids to the processes with a match in one of these files of /proc/PID
  local paths=() name pid first
  for name in "${@:3}"; do paths+=(/proc/[0-9]*/"$name"); done
  pids=()
  # The length of an argument list is limited. grep itself must not match.
  for ((first = 0; first < ${#paths[@]}; first += 10000)); do
    while IFS=/ read -r _ _ pid _; do
      pids+=("$pid")
    done < <(TRANSFERPY_JOB='' exec grep -s "$2" -f - -- "${paths[@]:first:10000}" <<<"$1")
  done
}

find_command() { # IDENTIFIER: a search for the processes of a remote command
  # A script and its subshells have the identifier in their argument list, the programs that they start in their environment.
  local pids pid
  [ -n "$1" ] || return 0 # it would find every process with an empty argument
  search_proc "$1"$'\n'"TRANSFERPY_JOB=$1" -lzxF cmdline environ
  for pid in "${pids[@]}"; do
    # Every user can read the identifier in the list of processes, and give it to a process.
    ! is_own_process "$pid" || add_process "$pid"
  done
}

find_group() { # GROUP: a search for the processes of a process group
  local pids pid
  kill -0 -- "-$1" 2>/dev/null || return 0
  search_proc "^[0-9]+ \(.*\) [^ZX] [0-9]+ $1 " -lE stat
  for pid in "${pids[@]}"; do add_process "$pid"; done
}

signal_until_ended() { # SIGNALS TIME WAIT SEARCH [ARGUMENT]: signals the found processes and those of SEARCH, each once
  # Runs the command WAIT with a number of seconds between two searches. Fails if a process still runs after TIME hundredths of
  # a second: the last search begins after that time, because a search itself can take long.
  local pid signal targets deadline expired=no signalled=() seconds=0.01
  read_uptime
  deadline=$((REPLY + $2))
  while :; do
    remove_ended
    "${@:4}"
    [ ${#processes[@]} -gt 0 ] || return 0
    [ "$expired" = no ] || return 1
    targets=() # in the order of their PIDs: mostly a parent before its children, so that it handles the signal itself
    for pid in "${!processes[@]}"; do
      [ "${signalled[$pid]-}" = "${processes[$pid]}" ] || targets+=("$pid")
      signalled[pid]=${processes[pid]}
    done
    for signal in $1; do kill -s "$signal" -- "${targets[@]}" 2>/dev/null; done
    read_uptime
    ((REPLY < deadline)) || expired=yes
    "$3" "$seconds"
    seconds=0.05 # most processes end at once
  done
}

kill_until_ended() { # TIME WAIT SEARCH [ARGUMENT]: kills the found processes and those of SEARCH
  # STOP comes first: a shell whose child is killed would run its next command.
  signal_until_ended 'STOP KILL' "$@"
}

end_processes() { # GRACE TIME WAIT SEARCH [ARGUMENT]: TERM, and KILL after GRACE hundredths of a second
  # Fails if a process still runs TIME hundredths of a second after KILL.
  local processes=()
  signal_until_ended TERM "$1" "${@:3}" || kill_until_ended "$2" "${@:3}"
}

stop_processes() { # IDENTIFIER: ends all processes of a remote command but this one
  # A process that waits for its disk, such as sync, ends only after the disk has written its data.
  end_processes 250 6000 sleep find_command "$1"
}

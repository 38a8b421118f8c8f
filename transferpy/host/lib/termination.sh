# Termination: the search for processes, and their end.
#
# The functions keep processes in the array "processes" of their caller: the start time of each process, by its PID. The kernel
# reuses a PID, so the PID alone does not identify a process. A search is a function that adds processes to that array.
# requires: lib/processes lib/clock

spared_group='' # the process group that no search finds

add_process() { # PID: adds a process; fails if it is a zombie, this process or a process of spared_group
  local stat
  [ "$1" != "$$" ] && [ "$1" != "$BASHPID" ] && read_stat "$1" && [[ ${stat[0]} != [ZX] && ${stat[2]} != "$spared_group" ]] &&
    processes[$1]=${stat[19]}
}

add_processes() { # PID ...
  local pid
  for pid in "$@"; do add_process "$pid"; done
  return 0
}

remove_ended() { # removes the processes that have ended
  local pid start
  for pid in "${!processes[@]}"; do
    start=${processes[$pid]}
    unset "processes[$pid]"
    ! add_process "$pid" || [ "${processes[$pid]}" = "$start" ] || unset "processes[$pid]"
  done
}

search_stat() { # PATTERN: sets the array pids to the processes with a match in /proc/PID/stat; fails if the search fails
  # Nothing here reads the memory of a process, such as its arguments: a user can block that for ever.
  local paths=(/proc/[0-9]*/stat) first
  pids=()
  # The length of an argument list is limited.
  for ((first = 0; first < ${#paths[@]}; first += 4096)); do
    add_matches grep -slE -e "$1" -- "${paths[@]:first:4096}"
    # The status is 2 if a process has ended in the meantime, and larger if grep did not run.
    (($? <= 2)) || return 1
  done
}

add_matches() { # COMMAND [ARGUMENT ...]: adds to pids the process of each /proc/PID/FILE that it prints; has its status
  # bash can wait for ever for a process substitution that has ended. So the status comes with the output.
  local directory word status=127
  while IFS=/ read -r _ directory word _; do
    if [ "$directory" = proc ]; then pids+=("$word"); else status=$word; fi
  done < <("$@"; echo "/status/$?")
  return "$status"
}

find_groups() { # GROUP ...: a search for the processes of process groups
  # The kernel reuses the number of a group only after its last process has ended.
  local pids alternatives
  kill -0 -- "${@/#/-}" 2>/dev/null || return 0
  printf -v alternatives '|%s' "$@"
  search_stat "^[0-9]+ \(.*\) [^ZX] [0-9]+ (${alternatives#|}) " || return 1
  add_processes "${pids[@]}"
}

find_session() { # SESSION: a search for the processes of a process session
  local pids
  search_stat "^[0-9]+ \(.*\) [^ZX] [0-9]+ [0-9]+ $1 " || return 1
  add_processes "${pids[@]}"
}

add_descendants() { # [PID]: adds the descendants of all processes that were found, and of that one, which survives
  local index file child children queue=("$@" "${!processes[@]}")
  for ((index = 0; index < ${#queue[@]}; index++)); do
    for file in "/proc/${queue[index]}"/task/*/children; do
      children=()
      read -ra children <"$file"
      for child in "${children[@]}"; do
        [ -n "${processes[$child]-}" ] || ! add_process "$child" || queue+=("$child")
      done
    done
  done 2>/dev/null
  return 0
}

find_tasks() { # DIRECTORY [PID]: a search for the processes of the tasks of a run, and for the descendants of its session
  local groups=()
  [ ! -e "$1/groups" ] || mapfile -t groups <"$1/groups" || return 1
  find_groups "${groups[@]}" || return 1
  add_descendants "${@:2}"
}

find_in_cgroup() { # DIRECTORY: a search for the processes of a control group
  local pids=()
  [ -d "$1" ] || return 0
  mapfile -t pids <"$1/cgroup.procs" || return 1
  add_processes "${pids[@]}"
}

find_command() { # IDENTIFIER: a search for the processes of a remote command, if nothing else identifies them
  # The memory of other users' processes is not read, and a process on a file system that hangs makes the search fail.
  local directory pids paths=() first
  [ -n "$1" ] || return 0 # it would find every process with an empty argument
  for directory in /proc/[0-9]*; do
    ! is_own_process "${directory##*/}" || paths+=("$directory")
  done
  for ((first = 0; first < ${#paths[@]}; first += 2048)); do
    search_memory "$1" "${paths[@]:first:2048}"
    (($? <= 2)) || return 1
    add_processes "${pids[@]}"
  done
}

search_memory() { # IDENTIFIER DIRECTORY ...: sets the array pids to those of a remote command; its status is that of grep
  # A script and its subshells have the identifier in their argument list, the programs that they start in their environment.
  local directories=("${@:2}") patterns=$1$'\n'TRANSFERPY_JOB=$1
  pids=()
  # grep itself must not match: neither its arguments nor its environment have the identifier.
  TRANSFERPY_JOB='' add_matches timeout -s KILL 5 \
    grep -slzxF -f - -- "${directories[@]/%//cmdline}" "${directories[@]/%//environ}" <<<"$patterns"
}

signal_until_ended() { # SIGNALS TIME WAIT SEARCH [ARGUMENT]: signals the found processes and those of SEARCH, each once
  # Runs the command WAIT with a number of seconds between two searches. Fails if a process still runs after TIME hundredths of
  # a second, or the last search failed: it begins after that time, because a search itself can take long.
  local pid signal targets deadline expired=no signalled=() pauses=(0.005 0.01 0.02 0.05)
  read_uptime
  deadline=$((REPLY + $2))
  while :; do
    remove_ended
    ! "${@:4}" || [ ${#processes[@]} -gt 0 ] || return 0
    [ "$expired" = no ] || return 1
    targets=() # in the order of their PIDs: mostly a parent before its children, so that it handles the signal itself
    for pid in "${!processes[@]}"; do
      [ "${signalled[$pid]-}" = "${processes[$pid]}" ] || targets+=("$pid")
      signalled[pid]=${processes[pid]}
    done
    for signal in $1; do kill -s "$signal" -- "${targets[@]}" 2>/dev/null; done
    read_uptime
    ((REPLY < deadline)) || expired=yes
    "$3" "${pauses[0]}"
    [ ${#pauses[@]} -eq 1 ] || pauses=("${pauses[@]:1}") # most processes end at once
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

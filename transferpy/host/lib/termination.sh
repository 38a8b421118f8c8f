# Termination: the search for processes, and their end.
#
# The functions keep processes in the associative array "found" of their caller: the start time of each process by its PID. The
# kernel reuses a PID, so the PID alone does not identify a process. A search is a function that adds processes to "found".
# requires: lib/environment

wait_command='sleep' # the command that waits between two searches, with a number of seconds

read_stat() { # PID: sets the array stat to the fields of /proc/PID/stat after the name; fails if the process does not exist
  local line=''
  { IFS= read -r -d '' line <"/proc/$1/stat"; } 2>/dev/null
  # The name of the command is in parentheses and can contain any character.
  read -ra stat <<<"${line##*) }"
  [ -n "${stat[19]-}" ]
}

is_own_process() { # PID: succeeds if this user started the process; root also runs set-uid programs of other users
  local line
  while read -ra line; do
    [ "${line[*]:0:2}" != "Uid: $UID" ] || return 0
  done 2>/dev/null <"/proc/$1/status"
  return 1
}

add_process() { # PID: adds a process; fails if it is a zombie or this process
  local stat
  [ "$1" != "$$" ] && [ "$1" != "$BASHPID" ] && read_stat "$1" && [[ ${stat[0]} != [ZX] ]] && found[$1]=${stat[19]}
}

add_descendants() { # adds the descendants of all processes that were found
  local index file child children queue=("${!found[@]}")
  for ((index = 0; index < ${#queue[@]}; index++)); do
    for file in "/proc/${queue[index]}"/task/*/children; do
      children=()
      read -ra children <"$file"
      for child in "${children[@]}"; do
        [ -n "${found[$child]-}" ] || ! add_process "$child" || queue+=("$child")
      done
    done
  done 2>/dev/null
}

remove_ended() { # removes the processes that have ended
  local pid start
  for pid in "${!found[@]}"; do
    start=${found[$pid]}
    unset "found[$pid]"
    ! add_process "$pid" || [ "${found[$pid]}" = "$start" ] || unset "found[$pid]"
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

find_command() { # IDENTIFIER: a search for the processes of a remote command, and their descendants
  # A script and its subshells have the identifier in their argument list, the programs that they start in their environment.
  local pids pid
  [ -n "$1" ] || return 0 # it would find every process with an empty argument
  search_proc "$1"$'\n'"TRANSFERPY_JOB=$1" -lzxF cmdline environ
  for pid in "${pids[@]}"; do
    # Every user can read the identifier in the list of processes, and give it to a process.
    ! is_own_process "$pid" || add_process "$pid"
  done
  add_descendants
}

find_group() { # GROUP: a search for the processes of a process group
  local pids pid
  kill -0 -- "-$1" 2>/dev/null || return 0
  search_proc "^NSpgid:[[:blank:]]+$1([[:blank:]]|\$)" -lE status
  for pid in "${pids[@]}"; do add_process "$pid"; done
}

read_uptime() { # sets REPLY to the time since the boot in hundredths of a second, on a clock that cannot be set
  local seconds hundredths
  IFS='. ' read -r seconds hundredths _ </proc/uptime
  REPLY=$((10#$seconds$hundredths))
}

signal_until_ended() { # SIGNALS TIME SEARCH [ARGUMENT]: signals the processes that were found and those of SEARCH, each once
  # Fails if a process still runs after TIME hundredths of a second.
  local -A signalled=()
  local pid signal targets deadline seconds=0.01
  read_uptime
  deadline=$((REPLY + $2))
  while :; do
    remove_ended
    "${@:3}"
    [ ${#found[@]} -gt 0 ] || return 0
    targets=()
    for pid in "${!found[@]}"; do
      [ "${signalled[$pid]-}" = "${found[$pid]}" ] || targets+=("$pid")
      signalled[$pid]=${found[$pid]}
    done
    for signal in $1; do kill -s "$signal" -- "${targets[@]}" 2>/dev/null; done
    read_uptime
    ((REPLY < deadline)) || return 1
    "$wait_command" "$seconds"
    seconds=0.05 # most processes end at once
  done
}

kill_until_ended() { # TIME SEARCH [ARGUMENT]
  # STOP comes first: a shell whose child is killed would run its next command.
  signal_until_ended 'STOP KILL' "$@"
}

end_processes() { # GRACE TIME SEARCH [ARGUMENT]: TERM, and KILL after GRACE hundredths of a second
  # Fails if a process still runs TIME hundredths of a second after KILL.
  local -A found=()
  signal_until_ended TERM "$1" "${@:3}" || kill_until_ended "$2" "${@:3}"
}

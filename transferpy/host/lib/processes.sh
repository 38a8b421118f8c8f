# Processes: their identity, the processes of a run, their end.
# requires: lib/environment

read_start_time() { # PID: sets REPLY to the start time of the process; with the PID, it identifies one process
  local stat=''
  { IFS= read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null
  # The name of the command is in parentheses and may hold any character. The numbers stand after its end.
  read -ra stat <<<"${stat##*) }"
  REPLY=${stat[19]-}
  [ -n "$REPLY" ]
}

is_own_process() { # PID: succeeds if this user started the process; root also runs set-uid programs of other users
  local line
  while read -ra line; do
    [ "${line[*]:0:2}" != "Uid: $UID" ] || return 0
  done 2>/dev/null <"/proc/$1/status"
  return 1
}

find_processes() { # IDENTIFIER: sets the array pids to the processes of that script, without this process
  # The script and its subshells have the identifier in their command line, other processes have it in their environment.
  # The search itself has it in neither.
  local file
  pids=()
  [ -n "$1" ] || return 0 # it would find every process with an empty argument
  while IFS= read -r file; do
    file=${file#/proc/} file=${file%/*}
    # Every user can read the identifier in the list of processes, and give it to a process.
    [ "$file" = "$$" ] || ! is_own_process "$file" || pids+=("$file")
  done < <(TRANSFERPY_JOB='' exec grep -lzxF -f - -- /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null \
    <<<"$1"$'\n'"TRANSFERPY_JOB=$1")
}

stop_processes() { # IDENTIFIER: ends all processes of a script but this one: TERM, and KILL after two seconds
  local signal pids pid signalled end pause=0.01
  for signal in TERM KILL; do
    signalled=' ' end=$((EPOCHSECONDS + 3)) # the first of these seconds may be short
    # A process that waits for its disk, such as sync, ends only after the disk has written its data.
    [ "$signal" = TERM ] || end=$((end + 60))
    while :; do
      find_processes "$1"
      [ ${#pids[@]} -gt 0 ] || return 0
      for pid in "${pids[@]}"; do
        # Once for each process, and also for those that started after the last search.
        [[ $signalled == *" $pid "* ]] || kill -s "$signal" -- "$pid" 2>/dev/null
        signalled+="$pid "
      done
      ((EPOCHSECONDS < end)) || break
      sleep "$pause"
      pause=0.05 # most processes end at once
    done
  done
  return 1
}

lower_priority() { # runs this process and its children with low CPU and I/O priority
  renice -n 19 -p $$ >/dev/null 2>&1
  # The lowest priority that still gets time on a busy disk: a stream without progress would be taken for dead.
  ! command -v ionice >/dev/null || ionice -c 2 -n 7 -p $$ 2>/dev/null
}

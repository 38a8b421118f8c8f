# The processes of a run: their identity, their search, their end.
# requires: lib/environment

process_start() { # PID: sets REPLY to its start time, which with the pid names one process for good
  local stat=''
  { IFS= read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null
  # The command name, in parentheses, may hold anything; what follows its end does not.
  read -ra stat <<<"${stat##*) }"
  REPLY=${stat[19]-}
  [ -n "$REPLY" ]
}

is_own() { # PID: whether this user started that process; the set-uid ones of others run as root, too
  local line
  while read -ra line; do
    [ "${line[*]:0:2}" != "Uid: $UID" ] || return 0
  done 2>/dev/null <"/proc/$1/status"
  return 1
}

job_processes() { # JOB: sets the array pids to the processes of that job, this one excepted
  # A job's processes have its name in their command line (the script and its subshells) or in their environment (what
  # they started). The search itself has it in neither.
  local file
  pids=()
  [ -n "$1" ] || return 0 # or every process with an empty argument would do
  while IFS= read -r file; do
    file=${file#/proc/} file=${file%/*}
    # Whoever sees the word in the list of processes can give it to his own.
    [ "$file" = "$$" ] || ! is_own "$file" || pids+=("$file")
  done < <(TRANSFERPY_JOB='' exec grep -lzxF -f - -- /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null \
    <<<"$1"$'\n'"TRANSFERPY_JOB=$1")
}

stop_processes() { # JOB: ends all its processes but this one: TERM, and KILL after two seconds
  local signal pids pid told end pause=0.01
  for signal in TERM KILL; do
    told=' ' end=$((EPOCHSECONDS + 3)) # the first of these may be short
    # A process that waits for its disk, as sync does, dies of KILL only when that has written what there was.
    [ "$signal" = TERM ] || end=$((end + 60))
    while :; do
      job_processes "$1"
      [ ${#pids[@]} -gt 0 ] || return 0
      for pid in "${pids[@]}"; do
        # Each once, but also those that were born after the last look.
        [[ $told == *" $pid "* ]] || kill -s "$signal" -- "$pid" 2>/dev/null
        told+="$pid "
      done
      ((EPOCHSECONDS < end)) || break
      sleep "$pause"
      pause=0.05 # most end at once
    done
  done
  return 1
}

step_back() { # behind the host's other work; what this process starts does as it does
  renice -n 19 -p $$ >/dev/null 2>&1
  # The lowest of those that still get their turn: a stream that gets none while the disk is busy would look dead.
  ! command -v ionice >/dev/null || ionice -c 2 -n 7 -p $$ 2>/dev/null
}

run_lives() { # DIRECTORY: whether the process that the run with that run directory belongs to lives
  local start=${1##*.} name=${1%.*}
  process_start "${name##*.}" && [ "$REPLY" = "$start" ]
}

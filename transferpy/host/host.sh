# shellcheck shell=bash disable=SC2015,SC2154
# (SC2015: "a && b || fail" is meant as it reads. SC2154: variables come from the lines before this text.)
# What every script on a host begins with: a known environment, events to the orchestration host, and the undo list.
#
# Set before this text: run_id (a plain word). Called as: bash -c SCRIPT transferpy JOB, where JOB is a word that no other
# process has in its command line.

set +o posix
set -u -o pipefail
umask 077
# Whatever the host's administrator likes for himself must not change what the tools do here.
unset PERL5OPT PERL5LIB TAR_OPTIONS GZIP PIGZ ZSTD_CLEVEL ZSTD_NBTHREADS POSIXLY_CORRECT GREP_OPTIONS CDPATH TMPDIR BLOCKSIZE BLOCK_SIZE GLOBIGNORE
export LC_ALL=C PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
job=${1-transferpy-$$}
export TRANSFERPY_JOB=$job
readonly run_root=/run/transferpy
exec {events}>&1
run_directory=

# --- events -----------------------------------------------------------------------------------------------------------

emit() { # NAME [KEY=VALUE ...]: one line to the orchestration host; values hold no blanks
  printf '@transferpy %s %s\n' "$run_id" "$*" 1>&"$events" || exit 141
}

encode() { # TEXT: as a value
  [ -z "$1" ] || printf %s "$1" | base64 -w0
}

fail() { # KIND MESSAGE: says why, and ends the script; the undo list runs in its EXIT trap
  emit error kind="$1" text="$(encode "$2")"
  exit 1
}

# --- processes --------------------------------------------------------------------------------------------------------

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

# --- the undo list ----------------------------------------------------------------------------------------------------
# Each entry is a file that names one command, written before the change it undoes: a host that is killed in between has
# an entry with nothing to undo, never a change without an entry. So each command is content when there is nothing to do.
#
# They run in a trap, where "return" without a number gives the status from before the trap, mostly 0: each failure here
# has its number.

undo_number=10000 # names sort as numbers only while they are of one length

on_undo() { # GROUP COMMAND [ARGUMENT ...]
  local entry=$run_directory/undo.$undo_number.$1
  shift
  undo_number=$((undo_number + 1))
  # By way of another name: an entry that a full disk cut short must never be run.
  printf '%q ' "$@" >"$run_directory/entry" && mv -- "$run_directory/entry" "$entry" ||
    fail host "cannot write in $run_directory: is it full?"
}

undo() { # DIRECTORY [GROUP]: runs its entries, newest first; an entry that fails stays, and is reported
  local entry message index status=0 group=${2-*}
  # shellcheck disable=SC2206 # the group may be a pattern
  local entries=("$1"/undo.*.$group)
  for ((index = ${#entries[@]} - 1; index >= 0; index--)); do
    entry=${entries[index]}
    [ -e "$entry" ] || continue
    # shellcheck disable=SC1090 # written by on_undo
    if message=$(. "$entry" 2>&1); then
      rm -f -- "$entry"
    else
      status=1
      emit undo-failed entry="$(encode "$(<"$entry")")" text="$(encode "$message")"
    fi
  done
  return "$status"
}

delete_while_present() { # TOOL SPECIFICATION ...: takes an iptables rule out of INPUT, as often as it stands there
  # A clean-up has 15 seconds; where somebody holds the lock of iptables for longer, the entry is for the next run.
  local tool=$1 message
  shift
  while :; do
    message=$("$tool" -w 5 -C INPUT "$@" 2>&1)
    case $? in
      0) "$tool" -w 5 -D INPUT "$@" || return 1 ;;
      1) return 0 ;; # the rule is not there
      *) # a lock that is held, for instance: that says nothing of the rule
        printf '%s\n' "$message"
        return 1
        ;;
    esac
  done
}

nft_delete_commented() { # FAMILY TABLE CHAIN COMMENT: takes out the rules that carry the comment
  # By comment and not by a handle kept from before: after a reload of the rules a handle can be another rule's.
  local rule rules
  rules=$(nft -a list chain "$1" "$2" "$3" 2>&1) || {
    [[ $rules != 'Error: No such file or directory'* ]] || return 0 # the chain is gone, and the rule with it
    printf '%s\n' "$rules"
    return 1
  }
  while IFS= read -r rule; do
    case $rule in
      *"comment \"$4\""*"# handle "*) nft delete rule "$1" "$2" "$3" handle "${rule##*# handle }" || return 1 ;;
    esac
  done <<<"$rules"
  return 0
}

remove_directory() { # PATH: removes a staging directory that this run made
  [ -L "$1" ] || [ ! -d "$1" ] || rm -rf --one-file-system -- "$1"
}

remove_empty_directory() { # PATH: removes a directory that this run made, unless it has become somebody's
  rmdir -- "$1" 2>/dev/null || return 0
}

take_back() { # DIRECTORY: removes from it what a session that could not finish had published so far
  local record name
  # A session that is alive knows that it failed; what begins here is finished even if it is killed meanwhile.
  rm -f -- "${entry%/*}/complete" || return 1
  while IFS= read -r -d '' record; do
    name=${record#* }
    # What has the name but is something else was put there by others.
    [ "$(stat -c %d:%i -- "$1/$name" 2>/dev/null)" != "${record%% *}" ] || rm -rf --one-file-system -- "${1:?}/$name" || return 1
  done <"${entry%/*}/published"
}

remove_lock_file() { # PATH: removes the lock file of a port or a server, unless another run holds it by now
  local lock
  { exec {lock}<"$1"; } 2>/dev/null || return 0
  # A process that inherited the lock may take a moment to end.
  if flock -w 1 "$lock" && [ "$1" -ef "/proc/self/fd/$lock" ]; then
    rm -f -- "$1"
  fi
  exec {lock}<&-
}

remove_run_directory() { # PATH
  local file
  rm -rf -- "$1"
  # A run that lives may need the lock of its server again, on a disk that is full by then.
  compgen -G "$run_root/run.*" >/dev/null || for file in "$run_root"/server.*; do remove_lock_file "$file"; done
  rmdir -- "$run_root" 2>/dev/null
  return 0
}

# --- what dead runs left ----------------------------------------------------------------------------------------------

run_lives() { # DIRECTORY: whether the process that the run with that run directory belongs to lives
  local start=${1##*.} name=${1%.*}
  process_start "${name##*.}" && [ "$REPLY" = "$start" ]
}

finish_dead_runs() { # undoes what sessions left that were killed before they could
  local directory name mine stopped
  process_start $$ || return 0
  mine=$$.$REPLY
  for directory in "$run_root"/run.*; do
    [ -d "$directory" ] && [ ! -L "$directory" ] || continue
    ! run_lives "$directory" || continue
    name=${directory##*/run.}
    name=${name%.*.*}
    # By its name it is going to be the claimer's, who lives; nobody may count on what the run itself would have done.
    { : >"$directory/dead"; } 2>/dev/null
    # Renaming claims the work: of two runs that find it at once, one goes on. A claimer that dies is a dead run again.
    mv -nT -- "$directory" "$run_root/run.$name.$mine" 2>/dev/null || continue
    directory=$run_root/run.$name.$mine
    [ -d "$directory" ] || continue
    [ ! -e "$directory/job" ] || stop_processes "$(<"$directory/job")"
    # All of the copy had its place when the session was killed, and by now it may be a running server's.
    [ ! -e "$directory/complete" ] || rm -f -- "$directory"/undo.*.publish "$directory"/undo.*.target
    rm -f -- "$directory/key.pem"
    stopped=''
    ! compgen -G "$directory/undo.*.replication" >/dev/null || stopped=' replication=started'
    if undo "$directory"; then
      remove_run_directory "$directory"
      emit finished-dead-run run="$name$stopped"
    else
      # This process may go on for hours, as a session; the next that looks shall try again. None began at 0.
      mv -nT -- "$directory" "$run_root/run.$name.$$.0"
    fi
  done
}

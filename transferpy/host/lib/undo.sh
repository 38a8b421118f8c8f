# The undo list of a session.
#
# Each entry is a file with one command. The session writes it before the change that the command reverses: a host that loses
# power in between has an entry without a change, never a change without an entry. So each command succeeds if there is nothing
# to reverse.
#
# The commands run in a trap. There, "return" without a number returns the status from before the trap, mostly 0: each failure
# in such a command has its number.
# requires: lib/events lib/runs lib/termination

undo_number=10000 # the names of entries sort as numbers only while they have one length

on_undo() { # GROUP COMMAND [ARGUMENT ...]: adds an entry
  local entry=$run_directory/undo.$undo_number.$1
  undo_number=$((undo_number + 1))
  # Under another name first: an entry that a full disk cut short must never run.
  { printf '%q ' "${@:2}" >"$run_directory/entry" && mv -- "$run_directory/entry" "$entry"; } || fail_cannot_write
}

fail_cannot_write() { # for a file in the run directory
  fail host "cannot write in $run_directory: is it full?"
}

undo() { # DIRECTORY [PATTERN]: runs the entries of the groups that match, the newest first; one that fails stays, and is reported
  local entry index status=0
  local entries=("$1"/undo.*)
  for ((index = ${#entries[@]} - 1; index >= 0; index--)); do
    entry=${entries[index]}
    # shellcheck disable=SC2053 # it is a pattern
    [[ ${entry##*.} == ${2-*} && -e $entry ]] || continue
    end_entry "$entry" "$(run_entry "$entry")" || status=1
  done
  return "$status"
}

undo_at_once() { # DIRECTORY GROUP: as undo, but runs all entries at the same time: an entry that hangs delays no other entry
  # Without process substitutions: bash (5.2.15) can crash if it reads one in the subshell of a trap.
  local entry process status=0 started=()
  for entry in "$1"/undo.*."$2"; do
    [ -e "$entry" ] || continue
    end_entry "$entry" "$(run_entry "$entry")" &
    started+=("$!")
  done
  for process in "${started[@]}"; do wait "$process" || status=1; done
  return "$status"
}

run_entry() { # FILE: runs the command of an entry; prints its exit status, and its output after a slash
  local entry=$1 message status=0
  # shellcheck disable=SC1090 # on_undo wrote the file
  message=$(. "$entry" 2>&1) || status=1
  printf %s "$status/$message"
}

end_entry() { # FILE OUTPUT: removes an entry that succeeded; fails and reports it if it failed; OUTPUT is that of run_entry
  if [[ $2 == 0/* ]]; then
    rm -f -- "$1"
  else
    emit undo-failed entry="$(encode "$(<"$1")")" text="$(encode "${2:2:2000}")"
    return 1
  fi
}

# Neither the firewall nor replication waits for the end of processes, which can hang with their disk or their file system.
readonly not_urgent='!(firewall*|replication)' urgent_seconds=300

start_urgent_undo() { # DIRECTORY COMMAND [ARGUMENT ...]: starts to undo the firewall entries, and COMMAND, which starts replication
  # Sets spared_group. An entry that fails stays, so that the next undo tries it again and reports it.
  set -m
  (
    trap - EXIT
    trap '' PIPE
    emit() { [ "$1" = undo-failed ] || printf '@transferpy %s %s\n' "$run_id" "$*" 1>&"$events"; }
    undo "$1" 'firewall*' &
    "${@:2}"
    wait
  ) &
  set +m
  spared_group=$!
  disown "$spared_group" # bash would print that the job was killed
}

undo_the_rest() { # DIRECTORY COMMAND [ARGUMENT ...]: waits for start_urgent_undo, runs COMMAND again, and all other entries
  # COMMAND, for which replication entries must be left, reports them if they fail again. If the urgent entries took too long, neither of them is tried again.
  local status=0
  if ! await_urgent_undo; then
    undo "$1" "$not_urgent"
    return 1
  fi
  ! compgen -G "$1/undo.*.replication" >/dev/null || "${@:2}" || status=1
  undo "$1" '!(replication)' || status=1
  return "$status"
}

await_urgent_undo() { # waits for start_urgent_undo; kills it and fails if it takes too long
  local deadline
  read_uptime
  deadline=$((REPLY + urgent_seconds * 100))
  while [ -d "/proc/$spared_group" ]; do
    read_uptime
    if ((REPLY > deadline)); then
      kill -s KILL -- "-$spared_group"
      return 1
    fi
    sleep 0.02
  done
}

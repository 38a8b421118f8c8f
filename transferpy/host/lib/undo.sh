# The undo list of a session.
#
# Each entry is a file with one command. The session writes it before the change that the command reverses: a host that loses
# power in between has an entry without a change, never a change without an entry. So each command succeeds if there is nothing
# to reverse.
#
# The commands run in a trap. There, "return" without a number returns the status from before the trap, mostly 0: each failure
# in such a command has its number.
# requires: lib/events lib/runs

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

undo() { # DIRECTORY [GROUP]: runs the entries, the newest first; an entry that fails stays, and is reported
  local entry message index status=0
  local entries=("$1"/undo.*)
  for ((index = ${#entries[@]} - 1; index >= 0; index--)); do
    entry=${entries[index]}
    [[ $entry == *.${2-*} && -e $entry ]] || continue
    # shellcheck disable=SC1090 # on_undo wrote the file
    if message=$(. "$entry" 2>&1); then
      rm -f -- "$entry"
    else
      status=1
      emit undo-failed entry="$(encode "$(<"$entry")")" text="$(encode "$message")"
    fi
  done
  return "$status"
}

# The undo list of a session.
#
# Each entry is a file that names one command, written before the change it undoes: a host that is killed in between has
# an entry with nothing to undo, never a change without an entry. So each command is content when there is nothing to do.
#
# They run in a trap, where "return" without a number gives the status from before the trap, mostly 0: each failure here
# has its number.
# requires: lib/events

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

# Events: the lines that a script sends to the orchestration host.
# requires: lib/environment

declare run_id # the identifier of the run, which the orchestration host sets
exec {events}>&1

readonly longest_event=200000 # bytes; the orchestration host accepts no line that is much longer

emit() { # NAME [KEY=VALUE ...]: sends one event; a value holds no blanks
  local event=$*
  [ ${#event} -le "$longest_event" ] || fail host "the event $1 has ${#event} bytes, which is too long"
  printf '@transferpy %s %s\n' "$run_id" "$event" 1>&"$events" || exit 141
}

encode() { # TEXT: prints a text as the value of an event
  [ -z "$1" ] || printf %s "$1" | base64 -w0
}

fail() { # KIND MESSAGE: reports an error and ends the script; its EXIT trap runs the undo list
  emit error kind="$1" text="$(encode "$2")"
  exit 1
}

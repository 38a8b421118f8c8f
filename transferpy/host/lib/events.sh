# Events: the lines that a script sends to the orchestration host.
# requires: lib/environment

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

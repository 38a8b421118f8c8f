# The session: the one process that changes a host, and undoes what it did however it ends.
#
# Orders are lines on its standard input. With the end of that, or of whoever reads its events, the session ends.
#
# Set before this text, besides run_id: role, encrypt, checksum (yes or no), cores, priority (low or normal), watched_by (the
# stage whose reading is the progress of the stream, by codec), with checksums digest_tool, and by role the
# variables and functions named at source_session and target_session.
# requires: lib/events lib/processes lib/undo lib/directories agent/replication

begin() {
  local tries=0
  [ "$priority" = normal ] || step_back
  process_start $$ || fail host "cannot read /proc"
  run_directory=$run_root/run.$role.$run_id.$$.$REPLY
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 141' PIPE
  trap 'exit 143' TERM
  # Another run that ends at this moment may remove the empty root directory under our hands.
  until mkdir -p -- "$run_root" && mkdir -- "$run_directory"; do
    ((++tries < 5)) || fail host "cannot make a directory below $run_root: is /run full or read-only?"
  done 2>/dev/null
  [ -O "$run_root" ] && [ ! -L "$run_root" ] || fail host "$run_root does not belong to root"
  printf %s "$job" >"$run_directory/job" && mkfifo -- "$run_directory/control" &&
    exec {orders}<&0 {control}<>"$run_directory/control" 2>>"$run_directory/session.err" >/dev/null </dev/null ||
    fail host "cannot write in $run_directory: is it full?"
  # What the orchestration host says joins what the jobs say. Its silence is an order too.
  {
    exec {events}>&-
    cat
    (($? > 128)) && echo 'orders lost' || echo 'order stop'
  } <&"$orders" 1>&"$control" &
  exec {orders}<&-
  emit hello directory="$(encode "$run_directory")"
}

exit() { # STATUS: in place of the shell's own
  # A signal that comes when the EXIT trap has just begun would end the shell by an exit of its own, in the midst of that.
  trap '' HUP INT PIPE TERM
  builtin exit "$1"
}

finish() {
  local status=$? undone=yes
  IFS=$' \t\n' # a signal may come while hear has another one
  # Nothing cuts the clean-up short, however it began; the children inherit that.
  trap '' HUP INT PIPE TERM
  trap - EXIT
  # The orchestration host may be gone; then nobody reads the events, and the clean-up goes on all the same.
  emit() { printf '@transferpy %s %s\n' "$run_id" "$*" 1>&"$events" || return 0; }
  [ "$priority" = normal ] || renice -n 0 -p $$ >/dev/null 2>&1 # nobody shall wait for the clean-up
  emit ending
  stop_processes "$job" || undone=no
  cd /
  [ -z "${port_lock-}" ] || exec {port_lock}>&-
  [ -z "${replication_lock-}" ] || exec {replication_lock}>&-
  rm -f -- "$run_directory/key.pem"
  # A source has nothing else to undo.
  resume_replication && undo "$run_directory" || undone=no
  [ "$undone" = no ] || remove_run_directory "$run_directory"
  emit end status="$status" undone="$undone"
  exit "$status"
}

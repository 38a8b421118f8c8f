# The recovery of stale runs: those whose session was killed before it could undo its changes.
# requires: lib/events lib/processes lib/undo lib/directories firewall/iptables firewall/nftables replication

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

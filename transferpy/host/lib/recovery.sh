# The recovery of stale runs: those whose session was killed before it had undone its changes.
# requires: lib/termination lib/cgroup lib/undo lib/directories lib/directories_1_0 firewall/* replication

recover_stale_runs() { # runs the undo lists of all stale runs of this host
  local directory own
  read_start_time $$ || return 0
  own=$$.$REPLY
  for directory in "$run_root"/run.*; do
    { [ -d "$directory" ] && [ -O "$directory" ] && [ ! -L "$directory" ]; } || continue
    run_is_alive "$directory" || recover_run "$directory" "$own"
  done
  remove_stale_lists
}

find_stale_processes() { # DIRECTORY: a search for the processes of a stale run
  local cgroup=''
  [ ! -e "$1/cgroup" ] || cgroup=$(<"$1/cgroup")
  if [ ! -e "$1/cgroup" ]; then # a run of version 1.0, or one that was killed at its very beginning
    [ ! -e "$1/job" ] || find_command "$(<"$1/job")"
  elif [ -n "$cgroup" ] && [ -d "$cgroup" ]; then
    find_in_cgroup "$cgroup"
  else
    find_tasks "$1"
  fi
}

recover_run() { # DIRECTORY PID.START: runs the undo list of one stale run; the process with that start time claims it
  # The name is run.RUN.PID.START. In version 1.0 it was run.ROLE.RUN.PID.START.
  local name=${1##*/run.} pid=${1%.*} directory replication='' status=0
  name=${name%.*.*} pid=${pid##*.}
  directory=$run_root/run.$name.$2
  # After the rename this run looks alive. The mark keeps other runs from relying on it to start replication.
  { : >"$1/dead"; } 2>/dev/null
  # The rename claims the run: if two processes find it at once, one of them fails. If the claimer is killed, the run is stale
  # again.
  mv -nT -- "$1" "$directory" 2>/dev/null
  [ -d "$directory" ] && [ ! -d "$1" ] || return 0
  # The name has the process ID of the last claimer. The file has that of the session, whose end another host waits for.
  { [ -s "$directory/pid" ] || printf %s "$pid" >"$directory/pid"; } 2>/dev/null
  [ ! -s "$directory/pid" ] || pid=$(<"$directory/pid")
  # The copy was complete when the session was killed. By now it may be in use, such as by a database server.
  [ ! -e "$directory/complete" ] || rm -f -- "$directory"/undo.*.publish "$directory"/undo.*.target
  rm -f -- "$directory/key.pem"
  ! compgen -G "$directory/undo.*.replication" >/dev/null || replication=started
  start_urgent_undo "$directory" undo_at_once "$directory" replication
  end_processes 250 6000 sleep find_stale_processes "$directory" || status=1
  undo_the_rest "$directory" undo_at_once "$directory" replication || status=1
  [ ! -s "$directory/cgroup" ] || remove_cgroup "$(<"$directory/cgroup")" || status=1
  if [ "$status" = 0 ]; then
    remove_run_directory "$directory"
    emit finished-dead-run run="$name" pid="$pid" ${replication:+replication="$replication"}
  else
    # This process may be a session later and live for hours. The next recovery has to find the run: no process started at 0.
    mv -nT -- "$directory" "$run_root/run.$name.$pid.0"
  fi
}

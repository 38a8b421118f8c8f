# The stop of replication by a session, for the time of a backup.
# requires: replication agent/tasks

replication_lock='' # the descriptor of the lock of a server
stopped_at=''       # the uptime at which the session began to stop connections; empty while none is stopped
is_starting=''      # yes once the session tries to start them, failed once an attempt has failed
next_start=''       # the uptime of the next attempt; empty if there is none
start_pause=500     # hundredths of a second until then; doubled after each attempt, up to some minutes
each_second+=(limit_stop_time retry_start)
on_task_end+=([start]=end_start)

stop_replication() { # CLIENT ...: stops the SQL thread of every connection at a moment without open temporary tables
  # A replica that is made from the copy has no temporary tables: the next statement that uses one would stop its replication.
  local server flavour deadline is_waiting=no
  identify_server "$@" 2>"$run_directory/ask.err" || fail_replication_query
  await_earlier_start
  read_uptime
  deadline=$((REPLY + safe_timeout * 100))
  until has_no_temporary_tables "$@" && stop_connections "$@" && has_no_temporary_tables "$@"; do
    resume_replication || fail replication "cannot start replication between two stops"
    read_uptime
    ((REPLY < deadline)) ||
      fail replication "the replica has had open temporary tables for $safe_timeout seconds (--safe-timeout)"
    [ "$is_waiting" = yes ] || emit replication-waits
    is_waiting=yes
    wait_for_message 1
  done
  emit replication-stopped connections="$(count_stopped_connections)"
}

await_earlier_start() { # waits until the connections run that did not start after the backup before
  # An attempt during the next backup would start its connections, too.
  local deadline
  read_uptime
  deadline=$((REPLY + safe_timeout * 100))
  until resume_replication; do
    read_uptime
    ((REPLY < deadline)) ||
      fail replication "connections that an earlier backup stopped do not start within $safe_timeout seconds (--safe-timeout)"
    wait_for_message 1
  done
}

has_no_temporary_tables() { # CLIENT ...: succeeds if the SQL threads have no open temporary tables
  local answer statement="SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_open_temp_tables', 'Replica_open_temp_tables')"
  # A task, because the session has to watch the time of the stop.
  run_task ask write_rows "$statement" "$@" || fail_replication_query
  answer=$(<"$run_directory/rows")
  [[ $answer == *Value=* ]] || fail replication "the server does not report how many temporary tables replication has open"
  [[ $answer != *Value=*[1-9]* ]]
}

write_rows() { # STATEMENT CLIENT ...: writes the rows of the result to a file
  query "$@" >"$run_directory/rows"
}

stop_connections() { # CLIENT ...: stops the SQL thread of every connection that runs, until resume_replication
  local index connections running ending discarding errors is_reported=no
  lock_for_stop
  read_replication_status "$flavour" "$@" 2>"$run_directory/ask.err" || fail_replication_query
  refuse_to_stop
  read_uptime
  stopped_at=$REPLY is_starting=''
  rm -f -- "$run_directory/left-to-others"
  share_stopped_connections "$@"
  for index in "${!connections[@]}"; do
    [[ ${running[index]} == *SQL_THREAD* ]] || continue
    [ "$is_reported" = yes ] || emit replication-stopping
    is_reported=yes
    undo_by_start "$server" "$flavour" "${connections[index]}" SQL_THREAD "$@"
    replication_statement "$flavour" STOP "${connections[index]}" SQL_THREAD
    start_task stop "$@" --execute "$REPLY"
    await_stop "${connections[index]}"
  done
  exec {replication_lock}>&-
  replication_lock=''
  has_stopped_connections || stopped_at=''
}

lock_for_stop() { # locks the server, which another run locks while it stops or starts connections
  local deadline
  read_uptime
  deadline=$((REPLY + safe_timeout * 100))
  until lock_server "$server" -n; do
    [ $? -ne 2 ] || fail host "cannot write in $run_root: is it full?"
    read_uptime
    ((REPLY < deadline)) ||
      fail replication "another transfer has stopped or started replication for $safe_timeout seconds (--safe-timeout)"
    wait_for_message 0.2
  done
  replication_lock=$lock lock=''
}

await_stop() { # CONNECTION: waits until the connection has stopped; the server may have to complete a large transaction first
  local deadline
  read_uptime
  deadline=$((REPLY + safe_timeout * 100))
  while [ -z "${task_statuses[stop]-}" ]; do
    read_uptime
    ((REPLY < deadline)) || fail replication "connection '$1' did not stop within $safe_timeout seconds (--safe-timeout)"
    wait_for_message 1
  done
  task_succeeded stop || report_task stop ||
    fail replication "cannot stop replication: $(without_separators "$run_directory/stop.err")"
}

has_stopped_connections() { # succeeds if the undo list starts a connection
  compgen -G "$run_directory/undo.*.replication" >/dev/null
}

limit_stop_time() { # ends the session, which starts replication, before the time is over
  [[ -n $stopped_at && -z $is_starting ]] && [ "$max_stop_time" -gt 0 ] || return 0 # a session that cannot read has no limit
  read_uptime
  # Two seconds are left: one until the next check, and one for the start.
  ((REPLY - stopped_at < max_stop_time * 100 - 200)) ||
    fail replication "the backup needs replication to be stopped for more than $max_stop_time seconds (--max-stop-time)"
}

refuse_to_stop() { # fails the session if a connection would not be the same after a stop and a start
  local index
  for index in "${!connections[@]}"; do
    [[ ${running[index]} == *SQL_THREAD* ]] || continue
    [ -z "${ending[index]}" ] ||
      fail replication "connection '${connections[index]}' has a stop position (START SLAVE UNTIL): wait until it has stopped"
    [ -z "${discarding[index]}" ] || [[ ${running[index]} == *IO_THREAD* ]] ||
      fail replication "connection '${connections[index]}' has no running I/O thread: a start would delete its relay logs"
  done
}

undo_by_start() { # SERVER FLAVOUR CONNECTION THREADS CLIENT ...: adds the undo entry that starts a connection
  on_undo replication start_replication "server=$1" "flavour=$2" "connection=$3" "threads=$4" -- "${@:5}"
}

without_separators() { # FILE: prints an error of the database client, without the lines around it
  grep -v "^-*$" -- "$1"
}

fail_replication_query() {
  fail replication "cannot query the state of replication: $(without_separators "$run_directory/ask.err")"
}

count_stopped_connections() { # prints how many connections the undo list starts
  # If a connection was stopped by another run and then started by an administrator, it has two entries.
  local file server flavour connection threads client
  for file in "$run_directory"/undo.*.replication; do
    ! read_entry "$file" || printf '%s\0' "$connection"
  done | sort -zu | grep -zc ''
}

share_stopped_connections() { # CLIENT ...: adds an undo entry for each connection of the server that other runs have stopped
  # The last of these runs to end starts the connection, and so does the recovery of a stale one.
  local file entries known=''
  find_entries_of_others "$server" "$run_directory"
  local server flavour connection threads client
  for file in "${entries[@]}"; do
    { read_key "$file" && [[ $known != *"<$REPLY>"* ]] && read_entry "$file"; } || continue
    known+="<$REPLY>"
    undo_by_start "$server" "$flavour" "$connection" "$threads" "$@"
  done
}

begin_start() { # starts the connections that stop_replication stopped, in a task; retry_start repeats it until it succeeds
  has_stopped_connections || return 0
  is_starting=${is_starting:-yes} next_start=''
  is_at_work start || start_task start start_connections
}

start_connections() { # in a task, which cannot send events: writes the failures to a file
  : >"$run_directory/not-started"
  # shellcheck disable=SC2317 # undo_at_once calls it
  emit() { [ "$1" != undo-failed ] || printf '%s\n' "$*" >>"$run_directory/not-started"; }
  undo_at_once "$run_directory" replication
}

end_start() { # after the task; only the first failure is reported, because an administrator needs no warning for each attempt
  local failure
  ! report_start || return 0
  if [ "$is_starting" != failed ]; then
    while read -ra failure; do emit "${failure[@]}"; done <"$run_directory/not-started"
  fi
  read_uptime
  is_starting=failed next_start=$((REPLY + start_pause))
  start_pause=$((start_pause < 20000 ? start_pause * 2 : start_pause))
}

retry_start() { # starts the connections that did not start, after a pause
  [ -n "$next_start" ] || return 0
  read_uptime
  ((REPLY < next_start)) || begin_start
}

resume_replication() { # starts the connections that stop_replication stopped; fails if one does not start at this attempt
  begin_start
  ! is_at_work start || wait_for_task start
  ! has_stopped_connections
}

report_start() { # reports that all connections run; fails if one does not
  ! has_stopped_connections || return 1
  read_uptime
  set -- milliseconds=$(((REPLY - stopped_at) * 10))
  stopped_at=''
  if [ -e "$run_directory/left-to-others" ]; then
    emit replication-left "$@"
  else
    emit replication-runs "$@"
  fi
}

start_at_end() { # starts the connections at the end of the session, without tasks; COMMAND of start_urgent_undo
  # A client that is about to stop a connection must not do so after the start. A task that starts them has locks.
  end_task stop
  end_task start
  # The task may have started all, and its last message has not been read.
  if [ -n "$stopped_at" ] || has_stopped_connections; then start_again; fi
}

start_again() { # as start_at_end, if connections are left
  undo_at_once "$run_directory" replication
  report_start
}

end_task() { # TASK
  ! is_at_work "$1" || end_processes 0 1000 sleep find_groups "${task_pid[$1]}"
}

# The stop of replication by a session, for the time of a backup.
# requires: replication agent/tasks

replication_lock='' # the descriptor of the lock of a server

stop_replication() { # CLIENT ...: stops every connection that runs, until the session ends or gets the command "resume"
  local index server flavour connections running connecting ending errors is_reported=no
  identify_server "$@" 2>"$run_directory/ask.err" || fail_replication_query
  until lock_server "$server" -n; do
    [ $? -ne 2 ] || fail host "cannot write in $run_root: is it full?"
    wait_for_message 0.2
  done
  replication_lock=$lock lock=''
  read_replication_status "$flavour" "$@" 2>"$run_directory/ask.err" || fail_replication_query
  share_stopped_connections "$@"
  for index in "${!connections[@]}"; do
    [ -n "${running[index]}" ] || continue
    [ -z "${ending[index]}" ] ||
      fail replication "connection '${connections[index]}' has a stop position (START SLAVE UNTIL): wait until it has stopped"
    [ "$is_reported" = yes ] || emit replication-stopping
    is_reported=yes
    undo_by_start "$server" "$flavour" "${connections[index]}" "${running[index]}" "$@"
    replication_statement "$flavour" STOP "${connections[index]}"
    # The server may have to complete a large transaction first.
    run_task stop "$@" --execute "$REPLY" ||
      fail replication "cannot stop replication: $(without_separators "$run_directory/stop.err")"
  done
  exec {replication_lock}>&-
  replication_lock=''
  emit replication-stopped connections="$(count_stopped_connections)"
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

resume_replication() { # starts the connections that stop_replication stopped
  compgen -G "$run_directory/undo.*.replication" >/dev/null || return 0
  rm -f -- "$run_directory/left-to-others"
  # A client that is about to stop a connection must not do so after the start.
  [ -z "${task_pid[stop]-}" ] || [ -n "${task_statuses[stop]-}" ] || end_processes 0 1000 sleep find_groups "${task_pid[stop]}"
  undo "$run_directory" replication || return 1
  if [ -e "$run_directory/left-to-others" ]; then
    emit replication-left
  else
    emit replication-runs
  fi
}

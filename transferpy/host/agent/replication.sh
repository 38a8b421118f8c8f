# The stop of replication by a session, for the time of a backup.
# requires: replication agent/tasks

stop_replication() { # CLIENT ...: stops every connection that runs, for this session's time
  local index server flavour connections threads unsettled ends troubles told=no
  identify_server "$@" 2>"$run_directory/ask.err" || fail_to_ask
  until lock_server "$server" -n; do
    [ $? -ne 2 ] || fail host "cannot write in $run_root: is it full?"
    watch 0.2
  done
  look_at_replication "$flavour" "$@" 2>"$run_directory/ask.err" || fail_to_ask
  join_in "$@"
  for index in "${!connections[@]}"; do
    [ -n "${threads[index]}" ] || continue
    [ -z "${ends[index]}" ] ||
      fail replication "connection '${connections[index]}' is to stop by itself (START SLAVE UNTIL): wait until it has"
    [ "$told" = yes ] || emit replication-stopping
    told=yes
    on_undo replication start_replication "$server" "$flavour" "${connections[index]}" "${threads[index]}" "$@"
    replication_statement "$flavour" STOP "${connections[index]}"
    # In a job, because the server may have to end a large transaction first.
    run_job stop "$@" --execute "$REPLY" ||
      fail replication "cannot stop replication: $(grep -v "^-*$" -- "$run_directory/stop.err")"
  done
  exec {replication_lock}>&-
  replication_lock=
  # Of a connection that others had stopped, and that somebody has started since, there are two entries.
  emit replication-stopped connections="$(distinct_connections)"
}

fail_to_ask() { # in the words that the client left in ask.err
  fail replication "cannot ask whether replication runs: $(grep -v "^-*$" -- "$run_directory/ask.err")"
}

distinct_connections() { # how many connections this session is going to start
  local file words
  for file in "$run_directory"/undo.*.replication; do
    [ -e "$file" ] || continue
    eval "words=($(cat -- "$file"))"
    printf '%s\0' "${words[3]}"
  done | sort -zu | grep -zc ''
}

join_in() { # CLIENT ...: shares in what others have stopped: whoever ends last, dead runs included, shall start it
  local file words entries known=''
  others_entries "$server" "$run_directory"
  for file in "${entries[@]}"; do
    eval "words=($(cat -- "$file" 2>/dev/null))"
    [ ${#words[@]} -gt 5 ] && [[ $known != *"<${words[*]:1:4}>"* ]] || continue
    known+="<${words[*]:1:4}>"
    on_undo replication "${words[@]:0:5}" "$@"
  done
}

resume_replication() { # starts again what stop_replication stopped
  compgen -G "$run_directory/undo.*.replication" >/dev/null || return 0
  rm -f -- "$run_directory/left-to-others"
  undo "$run_directory" replication || return 1
  if [ -e "$run_directory/left-to-others" ]; then
    emit replication-left
  else
    emit replication-runs
  fi
}

# The ability "listen": the session receives a stream.
# requires: agent/main agent/streams agent/ports agent/keys firewall/*

connection='' # of the stream: empty before the listener is ready, awaited, accepted

prepare_listen() {
  reserve_port "$wanted_port"
  register_firewall_undo
  # In a task: iptables may have to wait for its lock.
  start_task firewall open_firewall
  wait_for_task firewall
  task_succeeded firewall || fail firewall "cannot open the firewall: $(last_error firewall.err)"
  on_progress[receive]=follow_stream
  command_handler[peer]=accept_sender
  # Without encryption, the peer has no certificate, and the orchestration host does not send this command.
  [ "$encrypt" = yes ] || pending_commands=(peer "${pending_commands[@]}")
}

accept_sender() { # [CERTIFICATE]
  accept_peer sender.pem "${1-}"
  unset "command_handler[peer]"
  command_handler[receive]=receive_stream
  [ "$probe" = no ] || receive_probe_of_link
}

receive_probe_of_link() { # listens for a probe, which the source may send after it has taken its sample
  on_task_end[receive_probe]=report_link
  start_task receive_probe receive_probe
  wait_for_listener receive_probe # if the task ends first, the session has reported that
  emit probing port="$port"
}

report_link() { # reports how many bytes came in how many microseconds; the task fails, as it does not read all zeros
  emit link "$(cat -- "$run_directory/link" 2>/dev/null)"
}

receive_stream() { # CODEC
  local step
  unset "command_handler[receive]" "on_task_end[receive_probe]"
  stop_task receive_probe || fail port "port $port is in use"
  start_stream receive "receive_$1"
  for step in "${during_receive[@]}"; do "$step"; done
  if wait_for_listener receive; then
    heartbeat # the first stage has read its libraries by now
    connection=awaited
    emit listening port="$port"
  fi
  wait_for_stream receive
  [ ! -s "$run_directory/receive.read" ] || emit progress bytes="$(<"$run_directory/receive.read")"
  close_listener
  report_stream_digest receive received.digest
  report_task receive || exit 1
  report_connection
  for step in "${after_receive[@]}"; do "$step" || exit 1; done
}

follow_stream() { # BYTES
  local step
  # The listener closes its port when it has accepted a connection.
  [ "$connection" != awaited ] || has_own_listener "$port" || report_connection
  for step in "${while_receiving[@]}"; do "$step" "$1"; done
}

report_connection() {
  [ "$connection" = awaited ] || return 0
  connection=accepted
  emit connected
}

close_listener() { # closes the firewall and releases the port early: the checks may take hours
  # A signal interrupts "wait", but not a command in the foreground.
  undo "$run_directory" firewall &
  wait "$!"
  unlock_port
}

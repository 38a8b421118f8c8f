# The ability "listen": the session receives a stream.
# requires: agent/main agent/streams agent/ports agent/keys agent/handshake firewall/*

connection=''     # of the stream: empty before the listener is ready, awaited, accepted
sender_admitted=no # yes after the firewall rules were added

prepare_listen() {
  reserve_port "$wanted_port"
  on_progress[receive]=follow_stream
  at_once[reopen]=reopen_listener
  on_relay[reopened]=await_connection
  command_handler[peer]=accept_sender
  # Without encryption, the peer has no certificate, and the orchestration host does not send this command.
  [ "$encrypt" = yes ] || pending_commands=(peer "${pending_commands[@]}")
}

admit_sender() { # opens the firewall, once a listener was seen: the source may list its tree for hours before that
  [ "$sender_admitted" = no ] || return 0
  sender_admitted=yes
  register_firewall_undo
  # In a task: iptables may have to wait for its lock.
  start_task firewall open_firewall
  wait_for_task firewall
  task_succeeded firewall || fail firewall "cannot open the firewall: $(last_error firewall.err)"
}

accept_sender() { # [CERTIFICATE]
  accept_peer sender.pem "${1-}"
  unset "command_handler[peer]"
  command_handler[receive]=receive_stream
  [ "$probe" = no ] || receive_probe_of_link
}

receive_probe_of_link() { # listens for a probe, which the source may send after it has taken its sample
  on_task_end[receive_probe]=report_link
  start_watch "$port" "$sender_address"
  lend_port
  set_receive_buffer "$probe_buffer"
  start_task receive_probe receive_probe
  ! wait_for_listener receive_probe || admit_sender # if the task ends first, the session has reported that
  await_watch # before the source can connect
  emit probing port="$port"
}

report_link() { # reports how many bytes came in how many microseconds; the task fails, as it does not read all zeros
  report_errors receive_probe
  emit link "$(cat -- "$run_directory/link" 2>/dev/null)"
}

receive_stream() { # CODEC BUFFER
  local step
  unset "command_handler[receive]" "on_task_end[receive_probe]"
  stop_task receive_probe || fail port "port $port is in use"
  set_receive_buffer "$2"
  listen_for_stream "$1"
  if [ -z "${task_statuses[receive]-}" ]; then
    admit_sender
    heartbeat # the first stage has read its libraries by now
    connection=awaited
    await_watch # before the source can connect
    emit listening port="$port"
  fi
  for step in "${during_receive[@]}"; do "$step"; done # while the source connects
  wait_for_stream receive
  [ ! -s "$run_directory/receive.read" ] || emit progress bytes="$(<"$run_directory/receive.read")"
  close_listener
  report_stream_digest receive received.digest
  report_task receive || exit 1
  report_connection
  for step in "${after_receive[@]}"; do "$step" || exit 1; done
}

listen_for_stream() { # CODEC: starts the stream, and waits until its listener is seen or the stream has ended
  while :; do
    start_watch "$port" "$sender_address"
    lend_port
    start_stream receive "receive_$1"
    ! wait_for_listener receive || return 0
    # Another program took the port after it was reserved.
    [ "$wanted_port" = 0 ] && grep -qs 'Address already in use' "$run_directory/receive.0.err" || return 0
    close_listener
    sender_admitted=no
    reserve_port 0
  done
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
  forget_handshake
  take_port_back
  emit connected
}

reopen_listener() { # reopen CONNECTION: the relay starts the listener again
  [ -z "${task_statuses[receive]-}" ] || return 0
  lend_port
  command_relay "$@"
}

await_connection() { # the relay has started a listener
  connection=awaited
}

close_listener() { # closes the firewall and releases the port early: the checks may take hours
  # A signal interrupts "wait", but not a command in the foreground.
  undo "$run_directory" firewall &
  wait "$!"
  unlock_port
}

# The ability "listen": the session receives a stream.
# requires: agent/main agent/streams agent/ports agent/listeners agent/more_lanes agent/keys agent/handshake

# By the number of a lane.
connections=() # awaited, again for a further connection that is awaited, or accepted; empty while there is no listener

prepare_listen() {
  reserve_port "$wanted_port"
  on_progress+=(follow_stream)
  at_once[reopen]=reopen_listener
  on_relay[reopened]=await_further_connection
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

receive_stream() { # CODEC BUFFER TOKEN [LANES]: in at most that number of lanes
  local step pipeline=receive_$1 obstacle='' number=${4-1}
  unset "command_handler[receive]" "on_task_end[receive_probe]"
  stop_task receive_probe || fail port "port $port is in use"
  set_receive_buffer "$2"
  set_first_token "$3"
  ((number == 1)) || can_add_lanes || number=1
  ((number == 1)) || pipeline=receive_lanes_$1
  listen_for_stream "$pipeline"
  lane_ports=("$port")
  add_lanes "$pipeline" "$number"
  if ((number > 1 && ${#lanes[@]} == 1)); then
    stop_task receive || fail port "port $port is in use"
    listen_for_stream "receive_$1" # the source does not distribute its files over one lane
  fi
  ((${#lanes[@]} > 1)) || pipeline=receive_$1
  observe_stream receive "$pipeline"
  if is_at_work receive; then
    admit_sender
    heartbeat # the first stages have read their libraries by now
    each_lane await_connection
    await_watch # before the source can connect
    announce_listeners "$obstacle"
  fi
  for step in "${during_receive[@]}"; do "$step"; done # while the source connects
  wait_for_stream receive || exit 1
  report_received
  # Before the firewall is closed, which can take long: else the other end would report its secondary failure first.
  task_succeeded receive || report_task receive || exit 1
  close_listeners
  report_stream_digest receive received
  report_task receive || exit 1
  each_lane report_connection
  for step in "${after_receive[@]}"; do "$step" || exit 1; done
}

announce_listeners() { # OBSTACLE: the reason for which there are fewer lanes than requested
  local further=${lane_ports[*]:1}
  emit listening port="$port" ${further:+more="${further// /,}"} ${1:+obstacle="$(encode "$1")"}
}

follow_stream() { # BYTES
  local step
  each_lane look_for_connection
  for step in "${while_receiving[@]}"; do "$step" "$1"; done
}

await_connection() {
  connections[number]=awaited
}

is_awaited() { # succeeds while the current lane waits for a connection
  [ "${connections[number]-}" = awaited ] || [ "${connections[number]-}" = again ]
}

look_for_connection() { # the listener closes its port when it has accepted a connection
  ! is_awaited || has_own_listener "$port" || report_connection
}

report_connection() { # reports that the sender is connected, once all lanes have a connection
  local state=${connections[number]-}
  is_awaited || return 0
  connections[number]=accepted
  take_port_back
  [ "$state" = awaited ] || return 0
  [ -n "$lane" ] || forget_handshake
  [[ ${connections[*]} == *awaited* ]] || emit connected
}

reopen_listener() { # reopen LANE CONNECTION TOKEN: the relay of the lane starts its listener again
  local lane number=$2 port=${lane_ports[$2]-}
  set_lane "$2"
  is_at_work "receive$lane" || return 0
  report_connection # the one that broke
  connections[number]=''
  lend_port
  command_relay "$@"
  readmit_sender
}

await_further_connection() { # LANE: its relay has started a listener
  connections[$1]=again
}

report_received() { # reports the number of bytes that the first stages of all lanes have read
  local lane sum=0 count
  for lane in "${lanes[@]}"; do
    count=''
    { read -r count <"$run_directory/receive$lane.read"; } 2>/dev/null
    sum=$((sum + ${count:-0}))
  done
  ((sum == 0)) || emit progress bytes="$sum"
}

close_listeners() { # closes the firewall and releases the ports early: the checks may take hours
  close_firewall
  each_lane unlock_port
}


# The ability "connect": the session sends streams to the sessions of targets.
# requires: agent/main agent/streams agent/keys agent/handshake

prepare_connect() {
  command_handler[probe]=send_probe
  command_handler[send]=send_stream
}

send_probe() { # EDGE ADDRESS PORT BUFFER [CERTIFICATE]: sends zeros, by which the target measures the link
  local peer_address=$2 peer_port=$3 # the pipeline reads both
  accept_peer receiver.pem "${5-}"
  set_send_buffer "$4"
  start_watch "$peer_port" "${peer_address//[][]/}"
  await_watch
  start_task send_probe "send_probe_$1"
  wait_for_task send_probe # it never succeeds: the target does not read all zeros
  report_errors send_probe # the connection can be dead
  emit probed
}

send_stream() { # EDGE CODEC ADDRESS PORT[,PORT ...] BUFFER HISTORY TOKEN [CERTIFICATE]: each port receives a lane of the stream
  local task=send_$1 pipeline=send_$1_$2 step status=0
  local peer_address=$3 lane_ports # the pipeline reads the address
  IFS=, read -ra lane_ports <<<"$4"
  set_lanes "${#lane_ports[@]}"
  # shellcheck disable=SC2034 # the pipelines read it
  local lane_threads=$((compress_threads > ${#lanes[@]} ? compress_threads / ${#lanes[@]} : 1))
  ((${#lanes[@]} == 1)) || pipeline=send_$1_lanes_$2
  accept_peer receiver.pem "${8-}"
  set_send_buffer "$5"
  # shellcheck disable=SC2034 # the pipeline reads it
  history=$6
  set_first_token "$7"
  for step in "${before_send[@]}"; do "$step" || return; done
  discard_digests
  start_watch "${lane_ports[0]}" "${peer_address//[][]/}"
  await_watch
  emit sending
  each_lane start_sending "$task" "$pipeline"
  observe_stream "$task" "$pipeline"
  for step in "${during_send[@]}"; do "$step" "$task"; done
  wait_for_stream "$task" || status=1
  ((status != 0)) || { report_stream_digest "$task" sent; report_task "$task" || status=1; }
  for step in "${at_stream_end[@]}"; do "$step"; done
  # Its digests can end early, and still look complete.
  ((status == 0)) || { stop_task digest; return; }
  for step in "${after_send[@]}"; do "$step" "$task" || return; done
  emit checked
}

start_sending() { # TASK PIPELINE
  local peer_port=$port # the pipeline reads it
  make_relay_fifo
  start_task "$1$lane" "$2"
}

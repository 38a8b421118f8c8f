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

send_stream() { # EDGE CODEC ADDRESS PORT BUFFER HISTORY [CERTIFICATE]
  local task=send_$1 step status=0
  local peer_address=$3 peer_port=$4 # the pipeline reads both
  accept_peer receiver.pem "${7-}"
  set_send_buffer "$5"
  # shellcheck disable=SC2034 # the pipeline reads it
  history=$6
  for step in "${before_send[@]}"; do "$step" || return; done
  discard_digests
  start_watch "$peer_port" "${peer_address//[][]/}"
  await_watch
  emit sending
  start_stream "$task" "${task}_$2"
  for step in "${during_send[@]}"; do "$step" "$task"; done
  wait_for_stream "$task"
  report_stream_digest "$task" sent.digest
  report_task "$task" || status=1
  for step in "${at_stream_end[@]}"; do "$step"; done
  # Its digests can end early, and still look complete.
  ((status == 0)) || { stop_task digest; return; }
  for step in "${after_send[@]}"; do "$step" "$task" || return; done
  emit checked
}

# The listeners of a stream, and the rules of the firewall that admit the sender to their ports.
# requires: agent/tasks agent/lanes agent/ports agent/relay agent/handshake firewall/*

sender_admitted=no # yes after the firewall rules of the first lane were added

admit_sender() { # opens the firewall, once a listener was seen: the source may list its tree for hours before that
  [ "$sender_admitted" = no ] || return 0
  sender_admitted=yes
  admit_to_port || fail firewall "cannot open the firewall: $(last_error firewall.err)"
}

admit_to_port() { # opens the firewall for the port of the current lane
  register_firewall_undo
  # In a task: iptables may have to wait for its lock.
  start_task firewall open_firewall
  wait_for_task firewall
  task_succeeded firewall
}

listen_for_stream() { # PIPELINE: starts the current lane, and waits until its listener is seen or the lane has ended
  while :; do
    [ -n "$lane" ] || start_watch "$port" "$sender_address"
    lend_port
    make_relay_fifo
    start_task "receive$lane" "$1"
    ! wait_for_listener "receive$lane" || return 0
    # Another program took the port after it was reserved.
    [ "$wanted_port" = 0 ] && grep -qs 'Address already in use' "$run_directory/receive$lane.0.err" || return 0
    [ -n "$lane" ] || close_firewall
    unlock_port
    reserve_port 0
  done
}

close_firewall() {
  # A signal interrupts "wait", but not a command in the foreground.
  undo "$run_directory" firewall &
  wait "$!"
  sender_admitted=no
}

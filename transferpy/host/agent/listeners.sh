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
  run_firewall_task firewall
}

readmit_sender() { # adds the rules of the current lane again: a firewall that was restarted has lost them, which broke the connection
  # The entry of the undo list removes a rule as often as it is there. A rule whose chain does not exist any more is not needed.
  [ "$sender_admitted" = no ] || run_firewall_task "firewall$lane" || :
}

run_firewall_task() { # TASK: a task, because iptables may have to wait for its lock
  start_task "$1" open_firewall
  wait_for_task "$1"
  task_succeeded "$1"
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
    if [ -z "$lane" ]; then reserve_port 0; else find_port || return; fi
  done
}

close_firewall() {
  remove_firewall_rules 'firewall*'
  sender_admitted=no
}

remove_firewall_rules() { # GROUP: that of their undo entries
  # A signal interrupts "wait", but not a command in the foreground.
  undo "$run_directory" "$1" &
  wait "$!"
}

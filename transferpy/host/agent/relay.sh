# The relay of a stream: the stage that survives a broken connection. Without relays, the end of a connection ends the stream.
# requires: agent/tasks perl/relay_send perl/relay_receive

# The bytes that can be on their way between the two relays. The relay of a sender keeps them.
history=0

for command in resume reopen total finish abandon; do at_once[$command]=command_relay; done

make_relay_fifo() { # before a stream
  rm -f -- "$run_directory/relay"
  mkfifo -- "$run_directory/relay" || fail_cannot_write
}

command_relay() { # COMMAND [NUMBER ...]
  # Opened for both directions, a fifo never blocks. After the end of the relay, the command has no effect.
  [ ! -p "$run_directory/relay" ] || printf '%s\n' "$*" 1<>"$run_directory/relay"
}

report_relay() { # EVENT [FIELD ...]: passes on what the relay reports
  local text=''
  [ "$1" != broken ] || text=$(tail -c 500 -- "$run_directory/relay.err" 2>/dev/null)
  [ -z "${on_relay[$1]-}" ] || "${on_relay[$1]}"
  emit "$@" ${text:+text="$(encode "$text")"}
}

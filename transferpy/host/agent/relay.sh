# The relay of each lane of a stream: the stage that survives a broken connection. Without relays, the end of a connection ends the
# stream.
# requires: agent/tasks agent/lanes perl/relay_send perl/relay_receive

# The bytes that can be on their way between the two relays of a lane. The relay of a sender keeps them.
history=0

on_event=report_relay
for command in resume reopen total finish abandon; do at_once[$command]=command_relay; done

make_relay_fifo() { # before the start of the current lane
  rm -f -- "$run_directory/relay$lane"
  mkfifo -- "$run_directory/relay$lane" || fail_cannot_write
}

set_first_token() { # TOKEN: that of the first connection of each lane; the arguments of a process are public
  printf %s "$1" >"$run_directory/token" || fail_cannot_write
}

command_relay() { # COMMAND LANE [NUMBER ...]
  local lane words=("$1" "${@:3}")
  set_lane "$2"
  # Opened for both directions, a fifo never blocks. After the end of the relay, the command has no effect.
  [ ! -p "$run_directory/relay$lane" ] || printf '%s\n' "${words[*]}" 1<>"$run_directory/relay$lane"
}

report_relay() { # EVENT FIELD ... [lane=NUMBER]: passes on what the relay of a lane reports
  local lane='' number=0 text=''
  [[ ${*: -1} != lane=* ]] || number=${*: -1} number=${number#lane=}
  set_lane "$number"
  [ "$1" != broken ] || text=$(tail -c 500 -- "$run_directory/relay$lane.err" 2>/dev/null)
  [ -z "${on_relay[$1]-}" ] || "${on_relay[$1]}" "$number"
  emit "$@" ${text:+text="$(encode "$text")"}
}

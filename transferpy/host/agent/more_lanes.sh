# The further lanes of a stream that the session receives.
# requires: agent/lanes agent/ports agent/listeners lib/confine perl/make_parents

can_add_lanes() { # sets obstacle if the host does not permit it
  # A link that one tar has made could lead another tar out of the copy. A single tar makes such links at its end.
  confine true 2>"$run_directory/confine.err" || obstacle="tar cannot be confined to the copy: $(last_error confine.err)"
  [ -z "$obstacle" ]
}

add_lanes() { # PIPELINE NUMBER: adds lanes up to this number; sets obstacle if there are fewer
  local lane port number
  for ((number = 1; number < $2; number++)); do
    lane=-$number
    find_further_port "$number" || return
    listen_for_stream "$1" || { obstacle='no further port between 4400 and 4499 is free'; return; }
    if ! admit_to_port; then
      obstacle="cannot open the firewall: $(last_error firewall.err)"
      stop_task "receive$lane"
      remove_firewall_rules "firewall$lane"
      unlock_port
      return
    fi
    lanes+=("$lane") lane_ports+=("$port")
  done
}

find_further_port() { # NUMBER: as find_port; the ports follow the one that the user wants; sets obstacle if it fails
  local ports=()
  if ((wanted_port == 0)); then
    find_port || obstacle='no further port between 4400 and 4499 is free'
  else
    lock_port "$((wanted_port + $1))" && { take_port || { unlock_port; false; }; } || obstacle="port $((wanted_port + $1)) is in use"
  fi
  [ -z "$obstacle" ]
}

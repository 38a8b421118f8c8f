# The handshake: the packets that open the connection of a stream, and the obstacles if no connection comes.
# requires: agent/tasks perl/handshake perl/chains

# of the last connection that was watched
handshake_peer='' # the address of the other end
handshake_port=''

at_once[examine]=examine_handshake
on_task_end[examine]=report_obstacles

start_watch() { # PORT PEER: starts to watch the packets of a connection
  stop_task watch
  handshake_port=$1 handshake_peer=$2
  forget_handshake
  start_task watch watch_packets
}

await_watch() { # waits until the watch is ready, or not possible
  until [ -s "$run_directory/handshake" ] || [ -n "${task_statuses[watch]-}" ]; do wait_for_message 0.01; done
}

watch_packets() {
  perl -e "$perl_handshake" -- "$handshake_port" "$handshake_peer" "$$" >"$run_directory/handshake"
}

forget_handshake() { # ends the watch, within a second
  [ ! -e "$run_directory/handshake" ] || rm -f -- "$run_directory/handshake"
}

examine_handshake() { # the session command "examine": reports the packets at once, and the obstacles when they are found
  report_handshake examined=no
  start_task examine find_obstacles
}

report_handshake() { # FIELD ...: reports the packets, and these fields
  local lines=() watched=no fields=()
  mapfile -t lines 2>/dev/null <"$run_directory/handshake"
  [ ${#lines[@]} -eq 0 ] || watched=yes
  read -ra fields <<<"${lines[*]: -1}"
  emit handshake watched="$watched" "$@" "${fields[@]}"
}

report_obstacles() {
  local next_hop='' arriving='' leaving='' listed=yes
  task_succeeded examine || listed=no
  { read -r next_hop; read -r arriving; read -r leaving; } 2>/dev/null <"$run_directory/obstacles"
  report_handshake examined=yes listed="$listed" unresolved="$next_hop" arriving="$(encode "$arriving")" leaving="$(encode "$leaving")"
}

find_obstacles() { # in a task, because a tool can hang
  {
    find_unresolved_next_hop
    list_firewalls 2>/dev/null | perl -e "$perl_chains" -- "$handshake_peer" "$handshake_port"
  } >"$run_directory/obstacles"
}

find_unresolved_next_hop() { # prints the next host on the route to the peer if it has no link-layer address, else an empty line
  local route hop
  read -ra route < <(ip -o route get "$handshake_peer" 2>/dev/null)
  hop=${route[0]-}
  [ "${route[1]-}" != via ] || hop=${route[2]}
  case $(ip -o neighbour show to "${hop:-none}" 2>/dev/null) in
    *FAILED* | *INCOMPLETE*) echo "$hop" ;;
    *) echo ;;
  esac
}

list_firewalls() { # prints the rules of all firewalls of the kernel; fails if a tool fails, or takes too long
  local tool tools=(iptables-legacy-save ip6tables-legacy-save)
  # nft lists the rules of iptables, too, except for those in the older tables of the kernel.
  if command -v nft >/dev/null; then timeout 2 nft -s -t list ruleset || return; else tools+=(iptables-save ip6tables-save); fi
  for tool in "${tools[@]}"; do
    ! command -v "$tool" >/dev/null || { echo "@$tool" && timeout 2 "$tool"; } || return
  done
}

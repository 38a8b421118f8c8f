# The ports on which the host listens.
# requires: lib/environment

listening() { # sets the array ports to the local ports on which something listens
  local line tool=(netstat -tan)
  ! command -v ss >/dev/null || tool=(ss -Htan)
  ports=()
  # Both print the local address in the fourth column.
  while read -ra line; do
    [[ ${line[*]} != *LISTEN* ]] || ports+=("${line[3]##*:}")
  done < <(exec "${tool[@]}" 2>/dev/null)
}

is_listening() { # whether something listens on the port
  local ports
  listening
  [[ " ${ports[*]} " == *" $port "* ]]
}

is_listening_itself() { # whether something of this user's listens there: another user may have been faster
  local hex
  printf -v hex %04X "$port"
  # Local address, remote address, state (listening), queues, timer, retransmissions, user.
  grep -Eqs ": [0-9A-F]+:$hex [0-9A-F:]+ 0A [0-9A-F:]+ [0-9A-F:]+ [0-9A-F]+ +$EUID " /proc/net/tcp /proc/net/tcp6
}

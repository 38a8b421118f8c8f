# The TCP ports of the host.
# requires: lib/environment

list_listening_ports() { # sets the array ports to the local ports with a listener
  local line command=(netstat -tan)
  ! command -v ss >/dev/null || command=(ss -Htan)
  ports=()
  # Both tools print the local address in the fourth column.
  while read -ra line; do
    [[ ${line[*]} != *LISTEN* ]] || ports+=("${line[3]##*:}")
  done < <(exec "${command[@]}" 2>/dev/null)
}

has_own_listener() { # PORT: succeeds if a process of this user listens on the port; another user may have been faster
  local hex
  printf -v hex %04X "$1"
  # Local address, remote address, state (0A: listening), queues, timer, retransmissions, user.
  grep -Eqs ": [0-9A-F]+:$hex [0-9A-F:]+ 0A [0-9A-F:]+ [0-9A-F:]+ [0-9A-F]+ +$EUID " /proc/net/tcp /proc/net/tcp6
}

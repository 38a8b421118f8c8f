# The TCP ports of the host.
#
# A host can have 100,000 connections: the kernel is asked for its listeners only.
# requires: lib/environment

list_listening_ports() { # sets the array ports to the local ports with a listener
  local line command=(netstat -tln)
  ! command -v ss >/dev/null || command=(ss -Htln)
  ports=()
  # Both tools print the local address in the fourth column.
  while read -ra line; do
    [[ ${line[*]} != *LISTEN* ]] || ports+=("${line[3]##*:}")
  done < <(exec "${command[@]}" 2>/dev/null)
}

has_own_listener() { # PORT: succeeds if a process of this user listens on the port; another user may have been faster
  local hex line
  if ! command -v ss >/dev/null; then
    printf -v hex %04X "$1"
    # Local address, remote address, state (0A: listening), queues, timer, retransmissions, user.
    grep -Eqs ": [0-9A-F]+:$hex [0-9A-F:]+ 0A [0-9A-F:]+ [0-9A-F:]+ [0-9A-F]+ +$EUID " /proc/net/tcp /proc/net/tcp6
    return
  fi
  while read -r line; do
    # ss names the user of a socket, unless that is root.
    [[ $line == *' uid:'* ]] || line+=' uid:0 '
    [[ $line != *" uid:$EUID "* ]] || return 0
  done < <(exec ss -Htlne "sport = :$1" 2>/dev/null)
  return 1
}

# Facts about the connections of streams: the buffers of TCP sockets, and the system calls of relays and watches.
# requires: lib/events perl/force_buffers perl/stream_abilities

buffer_facts() { # the largest buffers that the kernel gives a connection by itself, and whether a stream can have larger ones
  local send='' receive='' forced=no abilities=()
  { read -r _ _ send </proc/sys/net/ipv4/tcp_wmem && read -r _ _ receive </proc/sys/net/ipv4/tcp_rmem; } 2>/dev/null
  # An older socat cannot set the buffer of a listener, and root of a container may not. The program has the names of its options
  # in it. It is not run, because the preflight would wait for a socat that hangs.
  ! { grep -qsF setsockopt-listen -- "$(type -P socat)" && perl -e "$perl_force_buffers" 2>/dev/null; } || forced=yes
  read -ra abilities <<<"$(perl -e "$perl_stream_abilities" 2>/dev/null || echo relays=no watches=no)"
  emit buffers send="${send:-0}" receive="${receive:-0}" forced="$forced" "${abilities[@]}"
}

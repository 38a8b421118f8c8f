# Facts about the host and its tools.
# requires: lib/events lib/lists lib/sockets preflight/values

host_facts() { # TOOL ...: facts about the host, and the tools that it has
  local tool found=() ports tools
  for tool in "$@"; do
    ! has_tool "$tool" || found+=("$tool")
  done
  list_listening_ports
  join_words "${found[@]}"
  tools=$REPLY
  join_words "${ports[@]}"
  emit host uid="$EUID" cores="$(nproc)" boot="$(</proc/sys/kernel/random/boot_id)" tools="$tools" listening="$REPLY" \
    memory="$(free_memory)" lists="$(free_bytes "$lists_root")"
}

free_memory() { # prints the available memory in bytes, without awk, which the host may not have
  local name kilobytes
  while read -r name kilobytes _; do
    [ "$name" != MemAvailable: ] || echo $((kilobytes * 1024))
  done </proc/meminfo
}

netcat_facts() { # NAME ...: the help text of each netcat, as every flavour can have the name nc
  local name
  for name in "$@"; do
    has_tool "$name" || continue
    emit netcat name="$name" help="$("$name" -h 2>&1 </dev/null | head -c 500 | base64 -w0)"
  done
}

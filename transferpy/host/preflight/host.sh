# Facts on the host and its tools.
# requires: lib/events lib/sockets preflight/words

free_memory() { # without awk, which the host may not have
  local name kilobytes
  while read -r name kilobytes _; do
    [ "$name" != MemAvailable: ] || echo $((kilobytes * 1024))
  done </proc/meminfo
}

host_facts() { # TOOL ...: who and what this host is, and which of the tools it has
  local tool found=() ports=() line words listing=(netstat -tan)
  for tool in "$@"; do
    ! has "$tool" || found+=("$tool")
  done
  [[ " ${found[*]} " != *" ss "* ]] || listing=(ss -Htan)
  while read -ra line; do
    [[ ${line[*]} != *LISTEN* ]] || ports+=("${line[3]##*:}")
  done < <(exec "${listing[@]}" 2>/dev/null)
  join_words "${found[@]}"
  words=$REPLY
  join_words "${ports[@]}"
  emit host uid="$EUID" cores="$(nproc)" boot="$(</proc/sys/kernel/random/boot_id)" tools="$words" listening="$REPLY" \
    memory="$(free_memory)" run="$(free_bytes /run)"
}

netcat_facts() { # NAME ...: what each calls itself, as all flavours go by the name nc
  local name
  for name in "$@"; do
    has "$name" || continue
    emit netcat name="$name" help="$("$name" -h 2>&1 </dev/null | head -c 500 | base64 -w0)"
  done
}

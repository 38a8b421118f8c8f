# Facts about the firewalls of the host.
# requires: lib/events preflight/values

firewall_facts() { # the rules that each firewall tool prints for the input of the host
  local tool names
  for tool in iptables ip6tables; do
    names=/proc/net/ip_tables_names
    [ "$tool" = iptables ] || names=/proc/net/ip6_tables_names
    # The newer tools do not see rules in the older tables of the kernel. A tool that lists these tables would load them, so
    # the kernel is asked first if they are in use.
    if has_tool "$tool-legacy" && has_line filter "$names"; then
      iptables_facts "$tool-legacy"
    fi
    if has_tool "$tool" && [[ $("$tool" -V 2>/dev/null) != *legacy* ]]; then
      iptables_facts "$tool"
    fi
  done
  ! has_tool nft || emit firewall tool=nft rules="$(nft -j list chains 2>/dev/null | base64 -w0)"
}

iptables_facts() { # TOOL: its policy and its first rule; there may be many thousands
  local lines rules
  mapfile -n 2 lines < <(exec "$1" -w 30 -S INPUT 2>/dev/null)
  printf -v rules %s "${lines[@]}"
  emit firewall tool="$1" rules="$(encode "$rules")"
}

has_line() { # LINE FILE: succeeds if the file has that line
  local line
  while read -r line; do
    [ "$line" != "$1" ] || return 0
  done 2>/dev/null <"$2"
  return 1
}

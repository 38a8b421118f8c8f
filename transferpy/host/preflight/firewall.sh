# Facts on the firewalls of the host.
# requires: lib/events preflight/words

iptables_facts() { # TOOL: its policy and one rule are enough; there may be many thousands
  local lines rules
  mapfile -n 2 lines < <(exec "$1" -w 30 -S INPUT 2>/dev/null)
  printf -v rules %s "${lines[@]}"
  emit firewall tool="$1" rules="$(encode "$rules")"
}

is_in() { # WORD FILE: whether it is one of the lines
  local line
  while read -r line; do
    [ "$line" != "$1" ] || return 0
  done 2>/dev/null <"$2"
  return 1
}

firewall_facts() { # what may filter the input of this host, each in its tool's own words
  local tool names
  for tool in iptables ip6tables; do
    [ "$tool" = iptables ] && names=/proc/net/ip_tables_names || names=/proc/net/ip6_tables_names
    # Rules in the kernel's older tables are not seen by the newer tools. Asking for them would load those tables; the
    # kernel names them only where they are in use.
    if has "$tool-legacy" && is_in filter "$names"; then
      iptables_facts "$tool-legacy"
    fi
    if has "$tool" && [[ $("$tool" -V 2>/dev/null) != *legacy* ]]; then
      iptables_facts "$tool"
    fi
  done
  ! has nft || emit firewall tool=nft rules="$(nft -j list chains 2>/dev/null | base64 -w0)"
}

# The backend iptables: its rules in the preflight, and the command of an undo entry that removes a rule.
# requires: lib/events preflight/values

iptables_facts() { # the rules of iptables and ip6tables for the input of the host
  local tool names
  for tool in iptables ip6tables; do
    names=/proc/net/ip_tables_names
    [ "$tool" = iptables ] || names=/proc/net/ip6_tables_names
    # The newer tools do not see rules in the older tables of the kernel. A tool that lists these tables would load them, so
    # the kernel is asked first if they are in use.
    if has_tool "$tool-legacy" && has_line filter "$names"; then
      report_iptables_rules "$tool-legacy"
    fi
    if has_tool "$tool" && [[ $("$tool" -V 2>/dev/null) != *legacy* ]]; then
      report_iptables_rules "$tool"
    fi
  done
}

report_iptables_rules() { # TOOL: its policy and its first rule; there may be many thousands
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

delete_while_present() { # TOOL SPECIFICATION ...: deletes a rule from the chain INPUT, as often as it is there
  # A clean-up has 15 seconds. If another process holds the lock of iptables for longer, the entry stays for the next run.
  local iptables=$1 message
  shift
  while :; do
    message=$("$iptables" -w 5 -C INPUT "$@" 2>&1)
    case $? in
      0) "$iptables" -w 5 -D INPUT "$@" || return 1 ;;
      1) return 0 ;; # the rule is not there
      *) # another error, such as a lock that is held: the rule may be there
        printf '%s\n' "$message"
        return 1
        ;;
    esac
  done
}

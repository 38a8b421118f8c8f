# The backend iptables: its rules in the preflight, and the command of an undo entry that removes a rule.
# requires: lib/events preflight/values firewall/nftables

iptables_facts() { # the rules of iptables and ip6tables for the input of the host
  local tool table names uses_nft
  for tool in iptables ip6tables; do
    names=/proc/net/ip_tables_names uses_nft=no
    [ "$tool" = iptables ] || names=/proc/net/ip6_tables_names
    ! has_tool "$tool" || [[ $("$tool" -V 2>/dev/null) == *legacy* ]] || uses_nft=yes
    for table in filter mangle security; do
      # The newer tools do not see rules in the older tables of the kernel. A tool that lists these tables would load them, so
      # the kernel is asked first if they are in use.
      if has_tool "$tool-legacy" && has_line "$table" "$names"; then
        report_iptables_rules "$tool-legacy" "$table"
      fi
      if [ "$uses_nft" = yes ] && { [ "$table" = filter ] || nft_may_have_table "$table"; }; then
        report_iptables_rules "$tool" "$table"
      fi
    done
  done
}

report_iptables_rules() { # TOOL TABLE: its policy and the first rule that can refuse input; there may be many thousands
  local name=$1 lines rules
  if [ "$2" = filter ]; then
    mapfile -n 2 lines < <(exec "$1" -w 30 -S INPUT 2>/dev/null)
  else
    # Most rules of these tables mark packets, and a rule before them would skip them.
    name=$1:$2
    mapfile -n 2 lines < <("$1" -w 30 -t "$2" -S 2>/dev/null | grep -Ev '^-A (PREROUTING|FORWARD|OUTPUT|POSTROUTING) ' |
      grep -E -- '^-P INPUT | -j DROP')
  fi
  printf -v rules %s "${lines[@]}"
  [ -n "$rules" ] || [ "$2" = filter ] || return 0
  emit firewall tool="$name" rules="$(encode "$rules")"
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
      1) # the rule is not there
        message=$(iptables_rules_like "$iptables" "$@") || {
          printf '%s\n' "$message"
          return 1
        }
        [ -z "$message" ] && return 0
        printf 'the rule is still there, in another place: %s\n' "$message"
        return 1
        ;;
      *) # another error, such as a lock that is held: the rule may be there
        printf '%s\n' "$message"
        return 1
        ;;
    esac
  done
}

iptables_rules_like() { # TOOL ... --dport PORT ... --comment COMMENT ... [-t TABLE]: prints the rules of the table with both values
  # If the rules cannot be listed, it prints the error and fails.
  local tool=$1 table=filter port='' comment='' rules
  while [ $# -gt 1 ]; do
    case $1 in
      --dport) port=$2 ;;
      --comment) comment=$2 ;;
      -t) table=$2 ;;
    esac
    shift
  done
  rules=$("$tool-save" -t "$table" 2>&1) || {
    printf '%s\n' "$rules"
    return 1
  }
  grep -F -- "--dport $port -m comment --comment $comment -j" <<<"$rules"
  (($? <= 1)) || return 1
}

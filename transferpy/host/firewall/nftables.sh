# The backend nftables: its rules in the preflight, and the command of an undo entry that removes a rule.
# requires: lib/events preflight/values

nftables_facts() { # the chains of nftables
  ! has_tool nft || emit firewall tool=nft rules="$(nft -j list chains 2>/dev/null | base64 -w0)"
}

nft_delete_commented() { # FAMILY TABLE CHAIN COMMENT: deletes the rules with that comment
  # A handle from the time when the rule was added can belong to another rule after a reload.
  local rule rules
  rules=$(nft -a list chain "$1" "$2" "$3" 2>&1) || {
    [[ $rules != 'Error: No such file or directory'* ]] || return 0 # the chain is gone, and the rule with it
    printf '%s\n' "$rules"
    return 1
  }
  while IFS= read -r rule; do
    case $rule in
      *"comment \"$4\""*"# handle "*) nft delete rule "$1" "$2" "$3" handle "${rule##*# handle }" || return 1 ;;
    esac
  done <<<"$rules"
  return 0
}

# The backend nftables: its rules in the preflight, and the command of an undo entry that removes a rule.
# requires: lib/events preflight/values

nftables_facts() { # the chains of nftables; of a long list, only those with a hook: these alone get a rule
  local chains
  has_tool nft || return 0
  chains=$(nft -j list chains 2>/dev/null)
  [ ${#chains} -le 50000 ] ||
    chains="{\"nftables\": [$(printf %s "$chains" | grep -o '{"chain": {[^{}]*"hook": [^{}]*}}' | paste -sd,)]}"
  emit firewall tool=nft rules="$(encode "$chains")"
}

nft_delete_commented() { # ... COMMENT: deletes the rules with that comment, wherever a reload has put them
  # A handle from the time when the rule was added can belong to another rule after a reload.
  local comment="comment \"${!#}\"" line=() rules table=() chain=''
  rules=$(nft_rules) || {
    printf '%s\n' "$rules"
    return 1
  }
  while read -ra line; do
    case "${line[*]}" in
      'table '*' {'*) table=("${line[@]:1:2}") ;;
      'chain '*' {'*) chain=${line[1]} ;;
      *"$comment"*'# handle '*) nft delete rule "${table[@]}" "$chain" handle "${line[-1]}" || return 1 ;;
    esac
  done <<<"$rules"
  rules=$(nft_rules) || return 1
  ! grep -F -- "$comment" <<<"$rules" # a rule that is left is a failure
}

nft_rules() { # prints all rules with their handles, without the elements of sets; or the error
  nft -t -a list ruleset 2>&1
}

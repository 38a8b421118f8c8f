# The backend nftables: its rules in the preflight, and the command of an undo entry that removes a rule.
# requires: lib/events preflight/values

nft_chains='' # the output of nft that lists all chains
nft_status='' # its exit status; empty before it has run

list_nft_chains() { # sets nft_chains and nft_status
  [ -z "$nft_status" ] || return 0
  nft_chains=$(nft -j list chains 2>/dev/null)
  nft_status=$?
}

nft_may_have_table() { # NAME: fails only if nft proves that no table of that name has a chain
  has_tool nft || return 0
  list_nft_chains
  [[ $nft_status != 0 || $nft_chains != *'"metainfo"'* || $nft_chains == *"\"$1\""* ]]
}

nftables_facts() { # the chains of nftables; of a long list, only those with a hook: these alone get a rule
  local chains
  has_tool nft || return 0
  list_nft_chains
  chains=$nft_chains
  [ ${#chains} -le 50000 ] ||
    chains="{\"nftables\": [$(printf %s "$chains" | grep -o '{"chain": {[^{}]*"hook": [^{}]*}}' | paste -sd,)]}"
  emit firewall tool=nft rules="$(encode "$chains")"
}

nft_delete_commented() { # [PORT] COMMENT: deletes the rules with that comment for one port or all, wherever a reload has put them
  # A handle from the time when the rule was added can belong to another rule after a reload.
  local comment="comment \"${!#}\"" port='' line=() rules table=() chain=''
  [ $# -ne 2 ] || port="dport $1 " # older versions have other words before the comment
  rules=$(nft_rules) || {
    printf '%s\n' "$rules"
    return 1
  }
  while read -ra line; do
    case "${line[*]}" in
      'table '*' {'*) table=("${line[@]:1:2}") ;;
      'chain '*' {'*) chain=${line[1]} ;;
      *"$port"*"$comment"*'# handle '*) nft delete rule "${table[@]}" "$chain" handle "${line[-1]}" || return 1 ;;
    esac
  done <<<"$rules"
  rules=$(nft_rules) || return 1
  ! { grep -F -- "$comment" <<<"$rules" | grep -F -- "$port"; } # a rule that is left is a failure
}

nft_rules() { # prints all rules with their handles, without the elements of sets; or the error
  nft -t -a list ruleset 2>&1
}

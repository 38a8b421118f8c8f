# The command of an undo entry that closes an nftables firewall again.

nft_delete_commented() { # FAMILY TABLE CHAIN COMMENT: takes out the rules that carry the comment
  # By comment and not by a handle kept from before: after a reload of the rules a handle can be another rule's.
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

# The command of an undo entry that removes a rule from iptables.

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

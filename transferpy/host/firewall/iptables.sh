# The command of an undo entry that closes an iptables firewall again.

delete_while_present() { # TOOL SPECIFICATION ...: takes an iptables rule out of INPUT, as often as it stands there
  # A clean-up has 15 seconds; where somebody holds the lock of iptables for longer, the entry is for the next run.
  local iptables=$1 message
  shift
  while :; do
    message=$("$iptables" -w 5 -C INPUT "$@" 2>&1)
    case $? in
      0) "$iptables" -w 5 -D INPUT "$@" || return 1 ;;
      1) return 0 ;; # the rule is not there
      *) # a lock that is held, for instance: that says nothing of the rule
        printf '%s\n' "$message"
        return 1
        ;;
    esac
  done
}

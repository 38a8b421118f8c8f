# The backend firewalld: its state in the preflight, and the commands that add and remove a rich rule.
#
# Only the daemon changes its tables: it replaces them when it reloads, and newer versions own them in the kernel.
# requires: lib/events lib/termination preflight/values

firewalld_facts() { # the state of the daemon; the empty text if it does not run
  local pids=() state=''
  has_tool firewall-cmd || return 0
  # firewall-cmd takes a third of a second, so it is asked only where the daemon may run.
  search_stat '^[0-9]+ \(firewalld\) ' && [ ${#pids[@]} -eq 0 ] || state=$(timeout 10 firewall-cmd --state 2>/dev/null)
  emit firewall tool=firewall-cmd rules="$(encode "$state")"
}

firewalld_add() { # RULE: adds a rich rule to every zone that can have the source; the daemon removes it after a day by itself
  local line zones
  zones=$(timeout 30 firewall-cmd --get-default-zone) || return 1
  # A zone is followed by its interfaces and sources, which are indented; newer versions print "(default)" after the name.
  while IFS= read -r line; do
    [[ -z $line || $line == [[:space:]]* ]] || zones+=$'\n'${line%% *}
  done < <(timeout 30 firewall-cmd --get-active-zones)
  while read -r line; do
    timeout 30 firewall-cmd --quiet --zone="$line" --timeout=24h --add-rich-rule="$1" || return 1
  done < <(sort -u <<<"$zones")
  return 0
}

firewalld_remove() { # RULE: removes a rich rule from all zones
  local zone zones
  zones=$(firewalld_zones_with "$1") || return 1
  for zone in $zones; do
    timeout 5 firewall-cmd --quiet --zone="$zone" --remove-rich-rule="$1" || return 1
  done
  zones=$(firewalld_zones_with "$1") || return 1
  [ -z "$zones" ] || {
    echo "the rule is still there, in the zones: $zones"
    return 1
  }
}

firewalld_zones_with() { # RULE: prints the names of the zones that have the rich rule; none if the daemon does not run
  local line listing zone='' pids=()
  # The daemon removes all of its rules when it ends.
  ! search_stat '^[0-9]+ \(firewalld\) ' || [ ${#pids[@]} -gt 0 ] || return 0
  listing=$(timeout 5 firewall-cmd --list-all-zones 2>&1) || {
    [ $? -ne 252 ] || return 0 # it has ended in the meantime
    printf '%s\n' "$listing" >&2
    return 1
  }
  while IFS= read -r line; do
    [[ -z $line || $line == [[:space:]]* ]] || zone=${line%% *}
    [ "${line#"${line%%[![:space:]]*}"}" != "$1" ] || echo "$zone"
  done <<<"$listing"
}

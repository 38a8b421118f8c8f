# Facts on the routes to the targets.
# requires: lib/events

route_facts() { # INDEX HOST [ADDRESS ...]: how this host reaches a target, and from which address
  local index=$1 address route candidates=()
  case $2 in
    # The orchestration host reaches this host from an address that leads back to it.
    localhost) [ -n "${SSH_CONNECTION-}" ] && candidates=("${SSH_CONNECTION%% *}") || candidates=(127.0.0.1) ;;
    *) mapfile -t candidates < <(getent ahosts "$2" | cut -d' ' -f1 | uniq) ;;
  esac
  shift 2
  for address in "${candidates[@]}" "$@"; do
    route=$(ip -o route get "$address" 2>/dev/null) && [[ $route == *' src '* ]] || continue
    route=${route##* src }
    emit route index="$index" address="$address" source="${route%% *}"
    return
  done
}

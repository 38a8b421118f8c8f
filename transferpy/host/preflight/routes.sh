# Facts about the routes to the targets.
# requires: lib/events

route_facts() { # INDEX HOST [ADDRESS ...]: the address by which this host reaches a target, and its own address on that route
  local index=$1 address route candidates=()
  case $2 in
    # The orchestration host reaches this host from an address that leads back to it.
    localhost)
      candidates=(127.0.0.1)
      [ -z "${SSH_CONNECTION-}" ] || candidates=("${SSH_CONNECTION%% *}")
      ;;
    *) mapfile -t candidates < <(getent ahosts "$2" | cut -d' ' -f1 | uniq) ;;
  esac
  shift 2
  for address in "${candidates[@]}" "$@"; do
    { route=$(ip -o route get "$address" 2>/dev/null) && [[ $route == *' src '* ]]; } || continue
    route=${route##* src }
    emit route index="$index" address="$address" source="${route%% *}"
    return
  done
}

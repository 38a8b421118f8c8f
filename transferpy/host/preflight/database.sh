# Facts about a database server and the backup tools.
# requires: lib/events preflight/values

answer_seconds=60 # the time that a server has to answer

database_facts() { # SOCKET OPTION ...: the answer of the server at that socket, and the size of its data
  # The version is that of InnoDB, which is a part of the server: an option of the server sets VERSION() to any text.
  local socket=$1 answer client fields=() state=server totals=() name exclude=()
  shift
  client=$(type -P mariadb || type -P mysql || echo mariadb)
  if [ ! -S "$socket" ]; then
    state=missing
    [ ! -e "$socket" ] && [ ! -L "$socket" ] || state=other
    emit database state="$state"
    return
  fi
  answer=$(timeout "$answer_seconds" "$client" "$@" --execute \
    "SELECT COALESCE((SELECT PLUGIN_VERSION FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'InnoDB'), VERSION()), \
    @@datadir, @@log_bin_basename, @@relay_log_basename, CONCAT(VERSION(), ', ', @@version_comment)" 2>&1) || {
    # A server that hangs still accepts connections.
    [ $? -ne 124 ] || answer+="${answer:+; }no answer within $answer_seconds seconds"
    state=silent
  }
  # The client may print warnings first.
  IFS=$'\t' read -ra fields <<<"${answer##*$'\n'}"
  if [ "$state" = silent ] || [ ${#fields[@]} -ne 5 ] || [ ! -d "${fields[1]}" ]; then
    emit database state=silent error="$(encode "$answer")"
    return
  fi
  # A backup has no replication logs, and they may be larger than the data.
  for name in "${fields[@]:2:2}"; do
    [ "$name" = NULL ] || exclude+=(--exclude="${name##*/}.[0-9]*")
  done
  totals=("disk=$(du -s -B1 "${exclude[@]}" -- "${fields[1]}" | cut -f1)")
  totals+=("inodes=$(du -s --inodes "${exclude[@]}" -- "${fields[1]}" | cut -f1)")
  emit database state=server version="$(encode "${fields[0]}")" datadir="$(encode "${fields[1]}")" \
    name="$(encode "${fields[4]}")" "${totals[@]}"
}

backup_facts() { # TOOL ...: the version of each backup tool that the host has
  local tool
  for tool in "$@"; do
    ! has_tool "$tool" || emit backup tool="$tool" version="$(encode "$("$tool" --version 2>&1)")"
  done
}

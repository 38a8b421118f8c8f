# Facts about a database server and the backup tools.
# requires: lib/events lib/queries preflight/values

answer_seconds=60 # the time that a server has to answer

database_facts() { # SOCKET OPTION ...: the answer of the server at that socket, and the size of its data
  # The version is that of InnoDB, which is a part of the server: an option of the server sets VERSION() to any text.
  local socket=$1 answer client version='' datadir='' binary_log='' relay_log='' name='' state=server totals=() log exclude=()
  shift
  client=$(type -P mariadb || type -P mysql || echo mariadb)
  if [ ! -S "$socket" ]; then
    state=missing
    [ ! -e "$socket" ] && [ ! -L "$socket" ] || state=other
    emit database state="$state"
    return
  fi
  answer=$(query "SELECT COALESCE((SELECT PLUGIN_VERSION FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'InnoDB'), \
    VERSION()) AS version, @@datadir AS datadir, @@log_bin_basename AS binary_log, @@relay_log_basename AS relay_log, \
    CONCAT(VERSION(), ', ', @@version_comment) AS name" timeout "$answer_seconds" "$client" "$@" 2>&1) || {
    # A server that hangs still accepts connections.
    [ $? -ne 124 ] || answer+="${answer:+; }no answer within $answer_seconds seconds"
    state=silent
  }
  read_row "$answer"
  if [ "$state" = silent ] || [ ! -d "$datadir" ]; then
    emit database state=silent error="$(encode "${answer:-the client printed no result}")"
    return
  fi
  # A backup has no replication logs, and they may be larger than the data.
  for log in "$binary_log" "$relay_log"; do
    [ -z "$log" ] || exclude+=(--exclude="${log##*/}.[0-9]*")
  done
  totals=("disk=$(du -s -B1 "${exclude[@]}" -- "$datadir" | cut -f1)")
  totals+=("inodes=$(du -s --inodes "${exclude[@]}" -- "$datadir" | cut -f1)")
  emit database state=server version="$(encode "$version")" datadir="$(encode "$datadir")" name="$(encode "$name")" \
    "${totals[@]}"
}

read_row() { # ROW: sets each variable to the field of its name
  local line
  while IFS= read -r line; do
    case $line in
      version=*) version=${line#*=} ;;
      datadir=*) datadir=${line#*=} ;;
      binary_log=*) binary_log=${line#*=} ;;
      relay_log=*) relay_log=${line#*=} ;;
      name=*) name=${line#*=} ;;
    esac
  done <<<"$1"
}

backup_facts() { # TOOL ...: the version of each backup tool that the host has
  local tool
  for tool in "$@"; do
    ! has_tool "$tool" || emit backup tool="$tool" version="$(encode "$("$tool" --version 2>&1)")"
  done
}

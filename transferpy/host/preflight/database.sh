# Facts on a database server and on the backup tools.
# requires: lib/events preflight/words

backup_facts() { # TOOL ...: the versions of those backup tools that are there
  local tool
  for tool in "$@"; do
    ! has "$tool" || emit backup tool="$tool" version="$(encode "$("$tool" --version 2>&1)")"
  done
}

answer_seconds=60

database_facts() { # SOCKET OPTION ...: what the server there says of itself, and how much it holds
  local socket=$1 answer client field=() totals state=server exclude=() name
  shift
  client=$(type -P mariadb || type -P mysql || echo mariadb)
  if [ ! -S "$socket" ]; then
    [ -e "$socket" ] || [ -L "$socket" ] && state=other || state=missing
    emit database state="$state"
    return
  fi
  answer=$(timeout "$answer_seconds" "$client" "$@" --batch --skip-column-names --execute \
    'SELECT VERSION(), @@datadir, @@log_bin_basename, @@relay_log_basename' 2>&1) || {
    # A server that hangs accepts connections all the same.
    [ $? -ne 124 ] || answer+="${answer:+; }no answer within $answer_seconds seconds"
    state=silent
  }
  # The client may have warned of something before.
  IFS=$'\t' read -ra field <<<"${answer##*$'\n'}"
  if [ "$state" = silent ] || [ ${#field[@]} -ne 4 ] || [ ! -d "${field[1]}" ]; then
    emit database state=silent error="$(encode "$answer")"
    return
  fi
  # The logs of replication stay where they are, and may be larger than the data.
  for name in "${field[@]:2}"; do
    [ "$name" = NULL ] || exclude+=(--exclude="${name##*/}.[0-9]*")
  done
  totals="disk=$(du -s -B1 "${exclude[@]}" -- "${field[1]}" | cut -f1)"
  totals+=" inodes=$(du -s --inodes "${exclude[@]}" -- "${field[1]}" | cut -f1)"
  # shellcheck disable=SC2086 # the totals are words
  emit database state=server version="$(encode "${field[0]}")" datadir="$(encode "${field[1]}")" $totals
}

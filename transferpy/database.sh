# shellcheck shell=bash disable=SC2015,SC2154
# (SC2015: "a && b || fail" is meant as it reads. SC2154: variables come from the lines before this text.)
# Replication on the host of a database server: what a session stops, its undo list starts again.
#
# A CLIENT is the command of the database's client with all it needs to log in, as separate words.

replication_flavour() { # CLIENT ...: sets REPLY to mariadb, or to mysql, where a replica has channels and other words
  REPLY=$("$@" --execute 'SELECT VERSION()') || return
  [[ $REPLY == *MariaDB* ]] && REPLY=mariadb || REPLY=mysql
}

replication_statement() { # FLAVOUR START|STOP CONNECTION [THREADS]: sets REPLY to it
  local name=${3//\\/\\\\}
  name=${name//\'/\'\'}
  case $1 in
    mariadb) REPLY="$2 SLAVE '$name' ${4-}" ;;
    mysql) REPLY="$2 REPLICA ${4-} FOR CHANNEL '$name'" ;;
  esac
}

running_replication() { # FLAVOUR CLIENT ...: sets the arrays connections and threads to what runs, an entry each
  local line state name='' running='' query='SHOW ALL SLAVES STATUS'
  [ "$1" = mariadb ] || query='SHOW REPLICA STATUS'
  shift
  connections=() threads=()
  state=$("$@" --column-names --vertical --execute "$query") || return
  while IFS= read -r line; do
    line=${line#"${line%%[! ]*}"}
    case $line in
      '*****'*)
        if [ -n "$running" ]; then
          connections+=("$name") threads+=("${running#, }")
        fi
        name='' running=''
        ;;
      Connection_name:* | Channel_Name:*)
        name=${line#*:}
        name=${name# }
        ;;
      # "Connecting" runs too: the server tries again and again.
      Slave_IO_Running:*[!o] | Replica_IO_Running:*[!o]) running+=', IO_THREAD' ;;
      Slave_SQL_Running:*[!o] | Replica_SQL_Running:*[!o]) running+=', SQL_THREAD' ;;
    esac
  done <<<"$state"$'\n*****'
}

stop_replication() { # CLIENT ...: stops every connection that runs, for this session's time
  local index flavour message connections threads
  message=$(replication_flavour "$@" 2>&1 && running_replication "$REPLY" "$@" 2>&1) ||
    fail replication "cannot ask whether replication runs: $message"
  replication_flavour "$@"
  flavour=$REPLY
  running_replication "$flavour" "$@"
  for index in "${!connections[@]}"; do
    on_undo replication start_replication "$flavour" "${connections[index]}" "${threads[index]}" "$@"
    replication_statement "$flavour" STOP "${connections[index]}"
    message=$("$@" --execute "$REPLY" 2>&1) || fail replication "cannot stop replication: $message"
  done
  emit replication-stopped connections="${#connections[@]}"
}

start_replication() { # FLAVOUR CONNECTION THREADS CLIENT ...: starts it, and sees that it runs
  local flavour=$1 name=$2 wanted=$3 index try connections threads
  shift 3
  replication_statement "$flavour" START "$name" "$wanted"
  "$@" --execute "$REPLY" || return
  for try in {1..50}; do
    running_replication "$flavour" "$@" || return
    for index in "${!connections[@]}"; do
      [ "${connections[index]}" = "$name" ] && [ "${threads[index]}" = "$wanted" ] && return 0
    done
    sleep 0.1
  done
  echo "connection '$name': $wanted did not start to run within $((try / 10)) seconds"
  return 1
}

resume_replication() { # starts again what stop_replication stopped
  if undo "$run_directory" replication; then
    emit replication-runs
  else
    emit replication-broken
  fi
}

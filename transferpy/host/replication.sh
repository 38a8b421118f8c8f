# Replication on the host of a database server: the undo list of a session starts what the session stopped.
#
# Several runs may back up one server at the same time. Each run has an undo entry for every connection that would run without
# these runs, and the last run to end starts the connection. A run reads the entries of the others under a lock. Each server has
# a lock of its own: a server that takes long to stop delays only the runs on that server. A run that stops connections locks
# the server alone. All others share this lock, and lock the connection that they start: a START that hangs delays no other.
#
# An undo entry is: start_replication server=DIRECTORY flavour=FLAVOUR connection=NAME threads=THREADS -- CLIENT.
# DIRECTORY is the data directory of the server, which identifies it. FLAVOUR is mariadb, or mysql, which has channels and other
# keywords. CLIENT is the command of the database client with all options to log in, as separate words.
#
# Only the SQL thread is stopped: the I/O thread keeps receiving. With GTIDs, MariaDB deletes the relay logs of a connection when a
# thread starts while both threads are stopped, and the primary may have no more binary logs to replace them. In the entries of
# earlier versions, THREADS can also have the I/O thread.
# requires: lib/undo lib/locks lib/queries

identify_server() { # CLIENT ...: sets server and flavour
  # Only MariaDB has the second variable. An option of the server sets VERSION() to any text.
  local answer
  answer=$(query "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('datadir', 'gtid_domain_id')" "$@") || return 1
  server=${answer#*=datadir$'\nValue='} flavour=mysql
  [[ $answer != *'=gtid_domain_id'* ]] || flavour=mariadb
  server=${server%%$'\n'*}
}

lock_server() { # SERVER FLOCK-OPTION ...: as take_lock, with the lock of a server
  # In the directory of the runs: many users can read the data directory of a server, and so could lock it.
  local file
  read -r file _ < <(md5sum <<<"$1")
  take_lock "$run_root/server.$file" "${@:2}"
}

lock_connection() { # FLOCK-OPTION ...: shares the lock of a server, and locks a connection; as take_lock
  local server_lock status=0
  lock_server "$server" -s "$@" || return "$?"
  server_lock=$lock
  lock_server "$server $connection" "$@" || status=$?
  ((status == 0)) || exec {server_lock}>&-
  return "$status"
}

replication_statement() { # FLAVOUR START|STOP CONNECTION [THREADS]: sets REPLY to the SQL statement
  # The session has its own sql_mode: that of the server can change the meaning of a backslash.
  local name=${3//\\/\\\\}
  name=${name//\'/\'\'}
  REPLY="SET SESSION sql_mode = ''; "
  case $1 in
    mariadb) REPLY+="$2 SLAVE '$name' ${4-}" ;;
    mysql) REPLY+="$2 REPLICA ${4-} FOR CHANNEL '$name'" ;;
  esac
}

read_replication_status() { # FLAVOUR CLIENT ...: sets arrays with an element for each connection: its name, in connections;
  # running (its threads that run), ending (yes if it will stop at a position), discarding (yes if the server deletes the relay
  # logs when a thread starts while both are stopped) and errors
  local line status last=-1 statement='SHOW ALL SLAVES STATUS'
  [ "$1" = mariadb ] || statement='SHOW REPLICA STATUS'
  connections=() running=() ending=() discarding=() errors=()
  status=$(query "$statement" "${@:2}") || return 1
  while IFS= read -r line; do
    case $line in
      row)
        last=$((last + 1))
        connections+=('') running+=('') ending+=('') discarding+=('') errors+=('')
        ;;
      Connection_name=* | Channel_Name=*) connections[last]=${line#*=} ;;
      # A thread that is "Connecting" runs: the server tries again and again.
      Slave_IO_Running=*[!o] | Replica_IO_Running=*[!o]) running[last]=IO_THREAD ;;
      Slave_SQL_Running=*[!o] | Replica_SQL_Running=*[!o]) running[last]+=${running[last]:+, }SQL_THREAD ;;
      Until_Condition=?*) [[ $line == *=None ]] || ending[last]=yes ;;
      Using_Gtid=*[!o]) discarding[last]=yes ;;
      Last_IO_Error=?* | Last_SQL_Error=?*) errors[last]+="; ${line#*=}" ;;
    esac
  done <<<"$status"
}

parse_connection() { # FIELD=VALUE ... -- CLIENT ...: sets server, flavour, connection, threads and the array client
  # The undo entries of version 1.0 have the values in this order, without names.
  [[ $1 == server=* ]] || set -- "server=$1" "flavour=$2" "connection=$3" "threads=$4" -- "${@:5}"
  while [ "${1---}" != -- ]; do
    case $1 in
      server=*) server=${1#*=} ;;
      flavour=*) flavour=${1#*=} ;;
      connection=*) connection=${1#*=} ;;
      threads=*) threads=${1#*=} ;;
    esac
    shift
  done
  client=("${@:2}")
}

read_entry() { # FILE: as parse_connection, for an undo entry; fails if the entry has vanished
  local words
  eval "words=($(cat -- "$1" 2>/dev/null))"
  [ ${#words[@]} -gt 5 ] && parse_connection "${words[@]:1}"
}

read_key() { # FILE: sets REPLY to the words by which the undo entries of several runs for one connection are equal
  local server flavour connection threads client
  read_entry "$1" && REPLY="$server $flavour $connection $threads"
}

find_entries_of_others() { # SERVER DIRECTORY: sets the array entries to those for that server of all runs but one
  local file server flavour connection threads client
  entries=()
  for file in "$run_root"/run.*/undo.*.replication; do
    [ "${file%/*}" != "$2" ] || continue
    # A run that ends meanwhile removes its entries.
    ! read_entry "$file" || [ "$server" != "$1" ] || entries+=("$file")
  done
}

is_needed_by_others() { # succeeds if another run that is alive has the connection stopped too; it will start the connection
  local file entries wanted="$server $flavour $connection $threads"
  find_entries_of_others "$server" "${entry%/*}"
  for file in "${entries[@]}"; do
    read_key "$file" && [ "$REPLY" = "$wanted" ] && [ ! -e "${file%/*}/dead" ] && run_is_alive "${file%/*}" && return 0
  done
  return 1
}

lock_seconds=10 # the time of one attempt to get a lock

start_replication() { # FIELD=VALUE ... -- CLIENT ...: prints the name of a connection and starts it, unless other runs need it stopped
  local server flavour connection threads client tries=0
  parse_connection "$@"
  # The messages of the client and of the server can lack the name.
  echo "connection '$connection'"
  until lock_connection -w "$lock_seconds"; do
    [ $? -ne 2 ] || return 1
    # A run has the lock while the server stops replication. A connection that this run needs stopped can wait for it.
    is_needed_by_others || ((++tries < 6)) || {
      echo "another transfer has kept the lock of $server for a minute"
      return 1
    }
    emit progress
  done
  if is_needed_by_others; then
    : >"${entry%/*}/left-to-others"
  else
    start_connection || return 1
  fi
  # Before the lock is released: other runs would rely on this entry.
  rm -f -- "$entry"
}

start_seconds=60 # the time that a server has to execute START; it may have to complete a STOP first

start_connection() { # starts the connection, and waits until it is seen to run
  local wanted=$threads index try seen=0 is_refused=no error='' connections running ending discarding errors
  start_keeps_relay_logs || return 1
  replication_statement "$flavour" START "$connection" "$wanted"
  # A user without the right to start the connection may have had no right to stop it either. The status is read after
  # the START: while a STOP is still at work, the connection looks as if it ran.
  timeout --foreground "$start_seconds" "${client[@]}" --execute "$REPLY" || {
    [ $? -ne 124 ] || {
      echo "the server has not executed START for $start_seconds seconds: it waits for another statement, for example for a" \
        "STOP that waits for a transaction"
      return 1
    }
    is_refused=yes
  }
  for try in {1..50}; do
    read_replication_status "$flavour" "${client[@]}" || return 1
    for index in "${!connections[@]}"; do
      [ "${connections[index]}" = "$connection" ] || continue
      error=${errors[index]}
      # More threads may run than before. A thread that is about to fail may be seen running once.
      if [[ ${running[index]} == *"$wanted"* ]]; then ((++seen)); else seen=0; fi
      ((seen < 2)) || return 0
    done
    [ "$is_refused" = no ] || ((seen > 0)) || return 1
    sleep 0.1
  done
  echo "$wanted did not start to run within $((try / 10)) seconds$error"
  return 1
}

start_keeps_relay_logs() { # fails if a start of the connection would delete relay logs
  local index
  [ "$threads" = SQL_THREAD ] || return 0 # an earlier version stopped both threads
  read_replication_status "$flavour" "${client[@]}" || return 1
  for index in "${!connections[@]}"; do
    [[ ${connections[index]} == "$connection" && ${running[index]} == '' && ${discarding[index]} == yes ]] || continue
    echo "its I/O thread has stopped too, and START SLAVE would delete its relay logs: check first that the primary has the binary" \
      "logs from gtid_slave_pos on${errors[index]}"
    return 1
  done
}

# Replication on the host of a database server: what a session stops, its undo list starts again.
#
# Several runs may back up one server at once. Each has an undo entry for every connection that would run but for them,
# and the last one to leave starts it. They look at each other's entries under a lock, of which each server has its own: one
# that takes long to stop makes nobody else wait.
#
# A CLIENT is the command of the database's client with all it needs to log in, as separate words. A SERVER is its data
# directory, by which runs know that they mean the same one.
# requires: lib/events lib/processes lib/undo

identify_server() { # CLIENT ...: sets server; and flavour to mariadb, or to mysql, which has channels and other words
  local answer
  answer=$("$@" --execute "SELECT CONCAT(VERSION(), ' ', @@datadir)") || return 1
  server=${answer#* }
  [[ ${answer%% *} == *MariaDB* ]] && flavour=mariadb || flavour=mysql
}

lock_server() { # SERVER FLOCK-OPTION ...: sets replication_lock; fails if another run has the lock, with 2 if it cannot be had
  # In the directory of the runs: who may read a server's data directory, often everybody, could hold a lock on that.
  local file
  read -r file _ < <(md5sum <<<"$1")
  file=$run_root/server.$file
  exec {replication_lock}>>"$file" || return 2
  # A file that was removed between open and lock is nobody's lock.
  ! flock "${@:2}" "$replication_lock" || [ ! "$file" -ef "/proc/self/fd/$replication_lock" ] || return 0
  exec {replication_lock}>&-
  replication_lock=
  return 1
}

replication_statement() { # FLAVOUR START|STOP CONNECTION [THREADS]: sets REPLY to it
  local name=${3//\\/\\\\}
  name=${name//\'/\'\'}
  case $1 in
    mariadb) REPLY="$2 SLAVE '$name' ${4-}" ;;
    mysql) REPLY="$2 REPLICA ${4-} FOR CHANNEL '$name'" ;;
  esac
}

look_at_replication() { # FLAVOUR CLIENT ...: sets arrays that have an entry for each connection: its name, in connections;
  # threads (those that run), unsettled (yes while it looks for its primary), ends (yes where it is to stop at some position
  # by itself), and troubles
  local line state name='' running='' looking='' until='' trouble='' first=yes query='SHOW ALL SLAVES STATUS'
  [ "$1" = mariadb ] || query='SHOW REPLICA STATUS'
  shift
  connections=() threads=() unsettled=() ends=() troubles=()
  state=$("$@" --column-names --vertical --execute "$query") || return 1
  while IFS= read -r line; do
    line=${line#"${line%%[! ]*}"}
    case $line in
      '***'*'. row ***'*)
        [ "$first" = yes ] ||
          connections+=("$name") threads+=("${running#, }") unsettled+=("$looking") ends+=("$until") troubles+=("$trouble")
        first=no name='' running='' looking='' until='' trouble=''
        ;;
      Connection_name:* | Channel_Name:*)
        name=${line#*:}
        name=${name# }
        ;;
      # "Connecting" runs too: the server tries again and again.
      Slave_IO_Running:*[!o] | Replica_IO_Running:*[!o])
        running+=', IO_THREAD'
        [[ $line == *Yes ]] || looking=yes
        ;;
      Slave_SQL_Running:*[!o] | Replica_SQL_Running:*[!o]) running+=', SQL_THREAD' ;;
      Until_Condition:' '*[!\ ]*) [[ $line == *' None' ]] || until=yes ;;
      Last_IO_Error:' '?* | Last_SQL_Error:' '?*) trouble+="; ${line#*: }" ;;
    esac
  done <<<"$state"$'\n*** last. row ***'
}

others_entries() { # SERVER DIRECTORY: sets the array entries to those for that server of all runs but that one
  local file words
  entries=()
  for file in "$run_root"/run.*/undo.*.replication; do
    [ "${file%/*}" != "$2" ] || continue
    # What vanishes while we look was the entry of a run that is done with it.
    eval "words=($(cat -- "$file" 2>/dev/null))"
    [ "${words[1]-}" != "$1" ] || entries+=("$file")
  done
}

is_needed_by_others() { # SERVER FLAVOUR CONNECTION THREADS: whether a run that lives, and so will start it, needs it stopped
  local file words entries
  others_entries "$1" "${entry%/*}"
  for file in "${entries[@]}"; do
    eval "words=($(cat -- "$file" 2>/dev/null))"
    [ "${words[*]:1:4}" = "$*" ] && [ ! -e "${file%/*}/dead" ] && run_lives "${file%/*}" && return 0
  done
  return 1
}

start_replication() { # SERVER FLAVOUR CONNECTION THREADS CLIENT ...: starts it, unless others need it stopped
  local replication_lock='' tries=0
  until lock_server "$1" -w 10; do
    [ $? -ne 2 ] || return 1
    # A run that stops it has the lock for as long as that takes the server; starting it can wait for that.
    is_needed_by_others "${@:1:4}" || ((++tries < 6)) || {
      echo "connection '$3': another transfer has kept the lock of $1 for a minute"
      return 1
    }
    emit progress
  done
  if is_needed_by_others "${@:1:4}"; then
    : >"${entry%/*}/left-to-others"
  else
    start_connection "${@:2}" || return 1
  fi
  # Before the lock goes: others would count on it.
  rm -f -- "$entry"
}

start_connection() { # FLAVOUR CONNECTION THREADS CLIENT ...: starts it, and sees that it runs
  local flavour=$1 name=$2 wanted=$3 index try seen=0 refused=no trouble='' connections threads unsettled ends troubles
  shift 3
  replication_statement "$flavour" START "$name" "$wanted"
  # Who may not start it may not have been allowed to stop it either. It is looked at only after that: a stop that is still
  # at work would look as if it ran.
  "$@" --execute "$REPLY" || refused=yes
  for try in {1..50}; do
    look_at_replication "$flavour" "$@" || return 1
    for index in "${!connections[@]}"; do
      [ "${connections[index]}" = "$name" ] || continue
      trouble=${troubles[index]}
      # More may run by now than ran before.
      [[ ${threads[index]} == *"$wanted"* ]] && ((++seen)) || seen=0
      # A thread that is going to fail may be seen running once.
      ((seen < 2)) || [ "${unsettled[index]}" = yes ] || return 0
    done
    [ "$refused" = no ] || ((seen > 0)) || return 1
    sleep 0.1
  done
  # It may have looked for its primary before, too.
  ((seen == 0)) || return 0
  echo "connection '$name': $wanted did not start to run within $((try / 10)) seconds$trouble"
  return 1
}

# The port on which a session listens.
#
# The task "hold" of each lane has its port bound, so that it stays free for the listener. The lock keeps other runs from sharing it.
# requires: lib/sockets agent/tasks agent/lanes perl/hold_port

port='' # the port of the current lane

lock_port() { # PORT: keeps other runs of this host from using the port; fails if another run has it
  local file=$run_root/port.$1
  on_undo "port$lane" remove_lock_file "$file"
  if take_lock "$file" -n; then
    port=$1 port_locks[$1]=$lock lock=''
    return 0
  fi
  rm -f -- "$run_directory"/undo.*."port$lane" # the file belongs to the other run
  return 1
}

unlock_port() {
  local descriptor=${port_locks[$port]}
  stop_task "hold$lane"
  exec {descriptor}>&-
  unset "port_locks[$port]"
  undo "$run_directory" "port$lane"
}

reserve_port() { # WANTED: locks a port, or any free one for 0; sets port
  if [ "$1" -ne 0 ]; then
    reserve_wanted_port "$1"
  else
    find_port || fail port "no free port between 4400 and 4499"
  fi
}

find_port() { # locks a free port; sets port; fails if there is none
  local candidate ports=() offset=$((RANDOM % 100)) # ports has the listeners of the host at the last call of take_port
  for ((candidate = 0; candidate < 100; candidate++)); do
    port=$((4400 + (candidate + offset) % 100))
    [[ " ${ports[*]} " != *" $port "* ]] || continue
    lock_port "$port" || continue
    ! take_port || return 0
    unlock_port
  done
  return 1
}

reserve_wanted_port() { # PORT
  local tries ports=()
  # A run that is about to end holds the port for a moment.
  for ((tries = 0; tries < 20; tries++)); do
    ! lock_port "$1" || break
    wait_for_message 0.1
  done
  [ -n "${port_locks[$1]-}" ] || fail port "port $1 is reserved by another transfer"
  take_port || take_port weak || fail port "port $1 is in use"
}

take_port() { # [weak]: holds the port, so that no other user can bind it; fails if it is in use; sets ports
  # The holder would share the port with a listener of root that permits that.
  list_listening_ports
  [[ " ${ports[*]} " != *" $port "* ]] || return 1
  [ ! -e "$run_directory/held" ] || rm -f -- "$run_directory/held"
  start_task "hold$lane" hold_port "$@"
  until [ -s "$run_directory/held" ]; do
    wait_for_message 0.01
    case ${task_statuses["hold$lane"]-} in
      '') ;;
      2) return 1 ;;
      *)
        [ -z "$lane" ] || return 1
        fail port "cannot bind port $port: $(last_error hold.err)"
        ;;
    esac
  done
}

hold_port() { # [weak]
  perl -e "$perl_hold_port" -- "$port" "$$" "$@" >"$run_directory/held"
}

lend_port() { # for a listener that cannot share the port with the holder
  [ "$shares_port" = yes ] || stop_task "hold$lane"
}

take_port_back() { # when that listener has accepted its connection; no harm is done if another program was faster
  [ "$shares_port" = yes ] || start_task "hold$lane" hold_port weak
}

wait_for_listener() { # TASK: waits until its listener is seen on the port; fails if the task ends first
  # A listener takes some hundredths of a second to start, and the search takes as long. So the wait comes first.
  until { wait_for_message 0.01; has_own_listener "$port"; }; do
    [ -z "${task_statuses[$1]-}" ] || return 1
  done
  return 0 # not the status of the last command in the loop
}

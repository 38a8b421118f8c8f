# The port on which a session listens.
# requires: lib/sockets agent/tasks

port=''      # the port
port_lock='' # the descriptor of its lock

lock_port() { # PORT: keeps other runs of this host from using the port; fails if another run has it
  local file=$run_root/port.$1
  on_undo port remove_lock_file "$file"
  if take_lock "$file" -n; then
    port=$1 port_lock=$lock lock=''
    return 0
  fi
  rm -f -- "$run_directory"/undo.*.port # the file belongs to the other run
  return 1
}

unlock_port() {
  exec {port_lock}>&-
  port_lock=''
  undo "$run_directory" port
}

reserve_port() { # WANTED: locks a port, or any free one for 0; sets port
  local candidate ports=() offset=$((RANDOM % 100))
  if [ "$1" -ne 0 ]; then
    reserve_wanted_port "$1"
    return
  fi
  list_listening_ports
  for ((candidate = 0; candidate < 100; candidate++)); do
    port=$((4400 + (candidate + offset) % 100))
    [[ " ${ports[*]} " != *" $port "* ]] || continue
    lock_port "$port" || continue
    port_is_in_use || return 0
    unlock_port
  done
  fail port "no free port between 4400 and 4499"
}

reserve_wanted_port() { # PORT
  local tries
  # A run that is about to end holds the port for a moment.
  for ((tries = 0; tries < 20; tries++)); do
    ! lock_port "$1" || break
    wait_for_message 0.1
  done
  [ -n "$port_lock" ] || fail port "port $1 is reserved by another transfer"
  ! port_is_in_use || fail port "port $1 is in use"
}

port_is_in_use() {
  local ports
  list_listening_ports
  [[ " ${ports[*]} " == *" $port "* ]]
}

wait_for_listener() { # TASK: waits until its listener is seen on the port; fails if the task ends first
  # A listener takes some hundredths of a second to start, and the search takes as long. So the wait comes first.
  until { wait_for_message 0.01; has_own_listener "$port"; }; do
    [ -z "${task_statuses[$1]-}" ] || return 1
  done
  return 0 # not the status of the last command in the loop
}

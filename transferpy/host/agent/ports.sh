# The port on which a session listens.
# requires: lib/sockets lib/undo lib/directories agent/tasks

take_port() { # PORT: locks it among the runs of this host; fails if another has it
  local file=$run_root/port.$1
  on_undo port remove_lock_file "$file"
  exec {port_lock}>>"$file" || return
  # A file that was removed between open and lock is nobody's lock.
  if flock -n "$port_lock" && [ "$file" -ef "/proc/self/fd/$port_lock" ]; then
    port=$1
    return 0
  fi
  exec {port_lock}>&-
  port_lock=
  rm -f -- "$run_directory"/undo.*.port # the file is the other run's
  return 1
}

release_port() {
  exec {port_lock}>&-
  port_lock=
  undo "$run_directory" port
}

reserve_port() { # WANTED: a port, or 0 for a free one; sets port
  local candidate ports offset=$((RANDOM % 100))
  if [ "$1" -ne 0 ]; then
    # One that just ends holds it for a moment more.
    for ((candidate = 0; candidate < 20; candidate++)); do
      ! take_port "$1" || break
      watch 0.1
    done
    [ -n "${port_lock-}" ] || fail port "port $1 is reserved by another transfer"
    ! is_listening || fail port "port $1 is in use"
    return
  fi
  listening
  for ((candidate = 0; candidate < 100; candidate++)); do
    port=$((4400 + (candidate + offset) % 100))
    [[ " ${ports[*]} " != *" $port "* ]] || continue
    take_port "$port" || continue
    ! is_listening || { release_port; continue; }
    return
  done
  fail port "no free port between 4400 and 4499"
}

await_listening() { # JOB: waits until its listener can be seen
  # A listener takes some hundredths of a second to start, and the look as long: the first one should not be in vain.
  until { watch 0.01; is_listening_itself; }; do
    [ -z "${ended[$1]-}" ] || return 1
  done
  return 0 # not what the loop's last command had to say
}

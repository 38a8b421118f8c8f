# The tasks of a session, which run in the background, and the messages of tasks and of the orchestration host.
# requires: lib/events lib/sockets

declare -A ended=() job_pid=()
declare -A followed_by=() # what to do when a job has ended, by its name
pending=()
heard=''
last_beat=0
connected=unknown
on_disk=0

launch() { # NAME FUNCTION [ARGUMENT ...]: runs it in the background, in a process group of its own
  local name=$1
  shift
  unset "ended[$name]"
  set -m
  (
    trap - EXIT HUP INT PIPE TERM
    exec {events}>&- # or the ssh connection would stay open as long as any of the job's processes
    [ -z "${port_lock-}" ] || exec {port_lock}>&-
    [ -z "${replication_lock-}" ] || exec {replication_lock}>&-
    statuses=()
    "$@"
    # A pipeline leaves the status of each stage, anything else its own.
    printf 'ended %s %s\n' "$name" "${statuses[*]:-$?}" 1>&"$control"
  ) 2>"$run_directory/$name.err" &
  set +m
  job_pid[$name]=$!
}

take_in() { # LINE: what a job or the orchestration host says
  case $1 in
    'ended '*)
      set -- "${1#ended }"
      ended[${1%% *}]=${1#* }
      [ -z "${followed_by[${1%% *}]-}" ] || "${followed_by[${1%% *}]}"
      ;;
    'order stop') exit 0 ;;
    'orders lost') fail host "the process that takes the session's orders was killed" ;;
    'order '*) pending+=("${1#order }") ;;
  esac
}

hear() { # SECONDS: waits that long at most for a line of somebody's, and takes it in
  local line
  if IFS= read -r -t "$1" -u "$control" line; then
    line=$heard$line heard=''
    take_in "$line"
  else
    # The time may be over in the middle of a line; what has been read of it is not in the fifo any more.
    heard+=$line
    return 1
  fi
}

watch() { # SECONDS: waits that long at most for somebody's word, and says once a second that the session lives
  local name
  ! hear "$1" || return 0
  ((EPOCHSECONDS != last_beat)) || return 0
  last_beat=$EPOCHSECONDS
  for name in "${!job_pid[@]}"; do
    [ -z "${ended[$name]-}" ] && ! kill -0 "${job_pid[$name]}" 2>/dev/null || continue
    # A job that was killed says nothing; but its last word may have come just now.
    while hear 0.1; do :; done
    [ -n "${ended[$name]-}" ] || take_in "ended $name 137"
  done
  beat
}

beat() { # says how far the stream is; with nobody to hear it, the session ends here
  local child children=() inner=() name='' bytes='' line pid=${job_pid[${stream:-none}]-none}
  { read -ra children <"/proc/$pid/task/$pid/children"; } 2>/dev/null
  for child in "${children[@]}"; do
    # The first stage is run by a shell of its own.
    { read -ra inner <"/proc/$child/task/$child/children"; } 2>/dev/null
    children+=("${inner[@]}")
  done
  for child in "${children[@]}"; do
    { read -r name <"/proc/$child/comm"; } 2>/dev/null
    [ "$name" = "$watched" ] || continue
    while IFS= read -r line; do
      [ "${line%%:*}" != rchar ] || bytes=${line#*: }
    done <"/proc/$child/io"
  done 2>/dev/null
  # Each listener closes its port when it has accepted; the connection itself may be over again by now.
  if [ "$connected" = no ] && ! is_listening_itself; then
    connected=yes
    emit connected
  fi
  [ "${stream-}" != receive ] || write_behind "${bytes:-0}"
  emit progress ${bytes:+bytes="$bytes"}
}

write_behind() { # BYTES: what has arrived; the more of it goes to disk now, the less the end of the stream waits for
  [ "$checksum" = no ] || return 0 # what is digested has to be on disk before that
  (($1 - on_disk >= 64 << 20)) || return 0
  # One that failed stays as it ended: the kernel tells each fault but once.
  [ -z "${job_pid[sync]-}" ] || [ "${ended[sync]-}" = 0 ] || return 0
  on_disk=$1
  launch sync sync -f .
}

await_end() { # NAME: waits until that job has ended; its exit statuses are then in ended[NAME]
  while [ -z "${ended[$1]-}" ]; do watch 1; done
}

await_order() { # WORD ...: waits for an order that begins with one of the words; sets the array order
  while [ ${#pending[@]} -eq 0 ]; do watch 1; done
  read -ra order <<<"${pending[0]}"
  pending=("${pending[@]:1}")
  case " $* " in
    *" ${order[0]} "*) ;;
    *) fail host "got the order ${order[0]}, but expected $*" ;;
  esac
}

report_end() { # NAME: tells how a job ended; fails unless every stage of it ended with 0
  local name=$1 file stage
  for file in "$run_directory/$name".err "$run_directory/$name".*.err; do
    [ -s "$file" ] || continue
    stage=${file#"$run_directory/$name."} stage=${stage%err} stage=${stage%.}
    emit stderr job="$name" stage="${stage:--}" text="$(tail -c 2000 -- "$file" | base64 -w0)"
  done
  emit stages job="$name" statuses="${ended[$name]// /,}"
  [[ ${ended[$name]} != *[!0\ ]* ]]
}

reason() { # FILE: prints the end of what a command wrote into that file of the run directory
  local text
  text=$(tail -c 500 -- "$run_directory/$1")
  # On a full disk it could not.
  printf %s "${text:-is $run_directory full?}"
}

run_job() { # NAME FUNCTION [ARGUMENT ...]: launches a job, waits for it and reports a failure; fails as the job does
  launch "$@"
  await_end "$1"
  [[ ${ended[$1]} != *[!0\ ]* ]] || report_end "$1"
}

stop_job() { # NAME: ends all its processes, if any are left, and forgets it; fails if one cannot be ended
  local group=${job_pid[$1]-} signal tries status=1
  [ -n "$group" ] || return 0
  for signal in TERM KILL; do
    group_lives "$group" || break
    kill -s "$signal" -- "-$group" 2>/dev/null
    for ((tries = 0; tries < 100; tries++)); do
      watch 0.01
      group_lives "$group" || break 2
    done
  done
  group_lives "$group" || status=0
  # It may have ended by itself just before: nobody shall take its last word for the end of the next job of this name.
  while hear 0.01; do :; done
  unset "job_pid[$1]" "ended[$1]"
  return "$status"
}

group_lives() { # GROUP: whether a process of that group lives; those that are dead and that init is slow to take do not
  kill -0 -- "-$1" 2>/dev/null && grep -Eqs "^[0-9]+ \(.*\) [^ZX] [0-9]+ $1 " /proc/[0-9]*/stat
}

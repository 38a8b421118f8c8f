# Tasks and messages. A task is work of a session in the background. A message is a line of a task or of the orchestration host.
#
# All messages arrive in the fifo "control" of the run directory, so that a session waits in one place and its traps run at
# once: "ended TASK STATUS ..." from a task, "event NAME FIELD ..." from the relay of a stream, "command WORD ..." from the
# orchestration host.
# requires: lib/termination lib/clock lib/undo agent/inputs

declare -A task_pid=()      # by task, its first process, which leads a process group
declare -A task_statuses=() # by task that has ended, the exit statuses of its stages
declare -A on_task_end=()   # by task, the function to call when it ends
declare -A stream_stage=()  # by task that carries a stream, the program whose input is its progress
declare -A stream_bytes=()  # by such a task, the number of bytes when that program was seen last
declare -A port_locks=()    # by port that the session has reserved, the descriptor of its lock
on_progress=()              # the functions to call once a second during a stream, with its number of bytes
on_failure=()               # the functions to call when a task has failed
pending_commands=()         # session commands that no function has handled yet
declare -A at_once=()       # by session command that does not wait for the end of another one, its function
on_event=''                 # the function to call with the event of a relay
declare -A on_relay=()      # by event of the relay of a stream, the function to call
partial_message=''
last_heartbeat=0
each_second=() # the functions to call with each heartbeat

start_task() { # TASK FUNCTION [ARGUMENT ...]
  local task=$1
  shift
  unset "task_statuses[$task]"
  set -m
  (
    trap - EXIT HUP INT PIPE TERM
    exec {events}>&- # an open descriptor would keep the ssh connection open after the session
    release_locks
    statuses=()
    "$@"
    # A pipeline sets the status of each stage.
    printf 'ended %s %s\n' "$task" "${statuses[*]:-$?}" 1>&"$control"
  ) 2>"$run_directory/$task.err" &
  set +m
  task_pid[$task]=$!
  echo "$!" >>"$run_directory/groups" || fail_cannot_write # where there is no control group, the processes are found by it
}

release_locks() { # closes the descriptors of all locks that the session holds
  local descriptor
  [ -z "$lock" ] || exec {lock}>&-
  for descriptor in "${port_locks[@]}"; do exec {descriptor}>&-; done
  [ -z "${replication_lock-}" ] || exec {replication_lock}>&-
}

dispatch() { # MESSAGE
  local task words=()
  case $1 in
    'ended '*)
      set -- "${1#ended }"
      task=${1%% *}
      task_statuses[$task]=${1#* }
      [ -z "${on_task_end[$task]-}" ] || "${on_task_end[$task]}"
      ;;
    'command stop') exit 0 ;;
    'input lost') fail host "the process that reads the session commands was killed" ;;
    'command '*)
      set -- "${1#command }"
      read -ra words <<<"$1"
      if [ -n "${at_once[${words[0]-}]-}" ]; then "${at_once[${words[0]}]}" "${words[@]}"; else pending_commands+=("$1"); fi
      ;;
    'event '*)
      read -ra words <<<"${1#event }"
      "$on_event" "${words[@]}"
      ;;
  esac
}

read_message() { # SECONDS: dispatches the next message; fails if none is complete within that time
  local line
  if IFS= read -r -t "$1" -u "$control" line; then
    line=$partial_message$line partial_message=''
    dispatch "$line"
  else
    # The time can end within a line. The part that was read is no longer in the fifo.
    partial_message+=$line
    return 1
  fi
}

wait_for_message() { # SECONDS: dispatches the next message, or sends a heartbeat once that time is over
  local task
  ! read_message "$1" || return 0
  heartbeat_is_due || return 0
  last_heartbeat=$((REPLY / 100))
  for task in "${!task_pid[@]}"; do
    task_is_lost "$task" || continue
    # Its last message may have arrived in the meantime.
    while read_message 0.1; do :; done
    [ -n "${task_statuses[$task]-}" ] || dispatch "ended $task 137"
  done
  heartbeat
}

heartbeat_is_due() { # succeeds once in each second since the boot; sets REPLY as read_uptime does
  read_uptime
  ((REPLY / 100 != last_heartbeat))
}

is_at_work() { # TASK: succeeds while the end of the task has not been dispatched
  [ -n "${task_pid[$1]-}" ] && [ -z "${task_statuses[$1]-}" ]
}

task_is_lost() { # TASK: succeeds if the task was killed, so that it sent no message
  [ -z "${task_statuses[$1]-}" ] && ! kill -0 "${task_pid[$1]}" 2>/dev/null
}

heartbeat() { # reports the progress of each stream; ends the session if the orchestration host reads no more events
  local task bytes sum='' total=0 step
  for step in "${each_second[@]}"; do "$step"; done
  if [ ${#stream_stage[@]} -eq 0 ]; then
    emit progress
    return
  fi
  for task in "${!stream_stage[@]}"; do measure_progress "$task"; done
  for bytes in "${stream_bytes[@]}"; do sum=$((sum + bytes)); done
  for step in "${on_progress[@]}"; do "$step" "${sum:-0}"; done
  emit progress ${sum:+bytes="$sum"} total="$total"
}

measure_progress() { # TASK: records the number of bytes that its observed stage has read, and adds that of all stages to total
  local bytes='' child children=() more=() first_stage=() pid=${task_pid[$1]-none}
  { read -ra children <"/proc/$pid/task/$pid/children"; } 2>/dev/null
  for child in "${children[@]}"; do
    # The first stage is the child of a subshell.
    { read -ra more <"/proc/$child/task/$child/children"; } 2>/dev/null
    first_stage+=("${more[@]}")
  done
  add_progress "${stream_stage[$1]}" "${children[@]}"
  # Without progress of the stream, a backup tool, which is not observed, still reads the log of its server.
  [ -n "$bytes" ] || add_progress "${stream_stage[$1]}" "${first_stage[@]}"
  # A relay counts the bytes itself: it moves them in the kernel, which does not count them for a process.
  [[ $1 != receive* ]] || read -r bytes 2>/dev/null <"$run_directory/$1.read"
  # A lane that has ended counts until the end of the stream.
  [ -z "$bytes" ] || stream_bytes[$1]=$bytes
}

add_progress() { # PROGRAM PID ...: adds the bytes that the processes have read to total; sets bytes to those of the program
  local name='' pid
  for pid in "${@:2}"; do
    { read -r name <"/proc/$pid/comm"; } 2>/dev/null
    read_bytes_read "$pid" || continue
    total=$((total + REPLY))
    [ "$name" != "$1" ] || bytes=$REPLY
  done
}

wait_for_task() { # TASK: waits for its end; its exit statuses are then in task_statuses
  while [ -z "${task_statuses[$1]-}" ]; do wait_for_message 1; done
}

task_succeeded() { # TASK: succeeds if every stage of a task that has ended had the exit status 0
  [[ ${task_statuses[$1]} != *[!0\ ]* ]]
}

report_task() { # TASK: reports the exit statuses and the standard error of a task; fails unless it succeeded
  local task=$1 step
  report_errors "$task"
  task_succeeded "$task" || for step in "${on_failure[@]}"; do "$step"; done
  emit stages job="$task" statuses="${task_statuses[$task]// /,}"
  task_succeeded "$task"
}

report_errors() { # TASK: reports the end of the standard error of each stage that has printed something
  local task=$1 file stage
  for file in "$run_directory/$task".err "$run_directory/$task".*.err; do
    [ -s "$file" ] || continue
    stage=${file#"$run_directory/$task."} stage=${stage%err} stage=${stage%.}
    emit stderr job="$task" stage="${stage:--}" text="$(tail -c 2000 -- "$file" | base64 -w0)"
  done
}

last_error() { # FILE: prints the end of a file of the run directory that has the standard error of a command
  local text
  text=$(tail -c 500 -- "$run_directory/$1")
  # The command could not write to a full disk.
  printf %s "${text:-is $run_directory full?}"
}

run_task() { # TASK FUNCTION [ARGUMENT ...]: starts a task and waits for its end; reports it if it failed, and fails
  start_task "$@"
  wait_for_task "$1"
  task_succeeded "$1" || report_task "$1"
}

stop_task() { # TASK ...: ends all processes of tasks and forgets the tasks; fails if a process survives
  local task groups=() status=0
  for task in "$@"; do groups+=(${task_pid[$task]+"${task_pid[$task]}"}); done
  [ ${#groups[@]} -gt 0 ] || return 0
  end_processes 100 100 wait_for_message find_groups "${groups[@]}" || status=1
  # The task may have ended by itself. Its message must not count as the end of the next task of this name.
  while read -t 0 -u "$control" && read_message 0.01; do :; done
  for task in "$@"; do unset "task_pid[$task]" "task_statuses[$task]"; done
  return "$status"
}

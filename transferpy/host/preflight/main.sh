# The preflight: sends the facts that the plan needs of one host, as events. It changes nothing but the recovery of stale runs.
# requires: lib/termination lib/recovery preflight/host preflight/buffers preflight/source preflight/database preflight/routes preflight/target

announce_path() { # PATH: the path of the next facts; an error names it if they do not arrive
  emit asking about="$(encode "$1")"
}

start_activity_reports() { # reports every five seconds that a process of the preflight uses the processor
  # A large tree takes long to measure, without output. A process that waits for a file system that hangs uses no processor.
  exec {activity}<> <(:)
  report_activity "$$" &
}

stop_activity_reports() {
  echo >&"$activity"
  exec {activity}>&-
  wait
}

report_activity() { # PID: until stop_activity_reports, or until that process ends
  local before=''
  while ! read -r -t 5 -u "$activity" && kill -0 "$1" 2>/dev/null; do
    read_processor_times
    [ "$REPLY" = "$before" ] || emit progress
    before=$REPLY
  done
}

read_processor_times() { # sets REPLY to the times in user mode and in the kernel of each other process of this script
  local processes=()
  local pid stat
  REPLY=''
  add_descendants "$$"
  for pid in "${!processes[@]}"; do
    ! read_stat "$pid" || REPLY+=" $pid:${stat[11]}:${stat[12]}"
  done
}

keep_input() { # for run_next_script: no tool of the preflight reads the standard input
  exec {input}<&0 </dev/null
}

run_next_script() { # runs the script that arrives on the standard input, in this process; ends if none arrives
  local length script
  # The connection of the orchestration host may be lost without an end of the input.
  { read -r -t 300 -u "$input" length && [[ -n $length && $length != *[!0-9]* ]]; } || exit 0
  script=$(timeout 60 head -c "$length" <&"$input")
  [ ${#script} -eq "$length" ] || exit 1
  # The children of the script would inherit the descriptors, and keep the connection open.
  exec <&"$input" {input}<&- {events}>&-
  eval "$script"
}

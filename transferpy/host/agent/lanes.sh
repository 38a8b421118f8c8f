# The lanes of a stream: numbered pipelines that carry its data at the same time.
#
# Each lane has its own port, tasks, index and files. Their names end with the suffix of the lane: "" for the first lane, "-1",
# "-2" and so on for the others. A stream has one lane, unless the type of the transfer can distribute its data.
# requires: agent/tasks lib/pipes

lanes=('')    # the suffixes of the lanes of the stream
lane_ports=() # the port of each lane, in the same order

each_lane() { # FUNCTION [ARGUMENT ...]: calls it with the variables lane and port of each lane; ends with the first that fails
  local number lane port
  for number in "${!lanes[@]}"; do
    lane=${lanes[number]} port=${lane_ports[number]-}
    "$@" || return
  done
}

set_lane() { # NUMBER: sets lane to the suffix of the lane of that number
  lane=''
  (($1 == 0)) || lane=-$1
}

set_lanes() { # NUMBER: the stream has this number of lanes
  local number
  lanes=('')
  for ((number = 1; number < $1; number++)); do lanes+=("-$number"); done
}

wait_for_lanes() { # TASK: waits until all lanes have ended; if one fails, ends the others at once; reports the further lanes
  # Fails if a further lane failed. The caller reports the first one.
  local lane waiting=("${lanes[@]}") rest
  while [ ${#waiting[@]} -gt 0 ]; do
    rest=()
    for lane in "${waiting[@]}"; do
      if is_at_work "$1$lane"; then
        rest+=("$lane")
      elif ! task_succeeded "$1$lane"; then
        signal_lanes "$1"
        [ -z "$lane" ] || report_task "$1$lane"
        local status=$?
        stop_lanes "$1"
        return "$status"
      elif [ -n "$lane" ]; then
        report_task "$1$lane"
      fi
    done
    waiting=("${rest[@]}")
    [ ${#waiting[@]} -eq 0 ] || wait_for_message 1
  done
}

signal_lanes() { # TASK: ends the lanes that are still at work, without a wait; their failures would be secondary ones
  local other
  for other in "${lanes[@]}"; do
    ! is_at_work "$1$other" || kill -TERM -- "-${task_pid[$1$other]}" 2>/dev/null
  done
}

stop_lanes() { # TASK: waits for the end of the lanes that are still at work
  local other tasks=()
  for other in "${lanes[@]}"; do
    ! is_at_work "$1$other" || tasks+=("$1$other")
  done
  stop_task "${tasks[@]}"
}

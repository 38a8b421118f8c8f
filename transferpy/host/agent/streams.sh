# The streams of a session: the steps of other abilities before, during and after a stream.
# requires: agent/tasks agent/lanes agent/digests agent/relay lib/pipes

# The names of functions. The first one that fails ends the work on a stream.
before_send=()
during_send=() # TASK
at_stream_end=() # after a stream that was sent or has failed, before its result counts
after_send=()  # TASK
during_receive=()
while_receiving=() # BYTES: once a second
after_receive=()

# The options of socat for the buffers of the sockets of the next stream, with a comma before them. The kernel limits the other
# options for buffers. The listener needs its buffer before the connection, which cannot change its window scale later.
send_buffer='' receive_buffer=''

# shellcheck disable=SC2034 # the pipelines read both
set_send_buffer() { # BYTES: 0 leaves the buffer to the kernel
  send_buffer=''
  (($1 == 0)) || send_buffer=,setsockopt-int=1:32:$1 # SO_SNDBUFFORCE
}

# shellcheck disable=SC2034
set_receive_buffer() { # BYTES
  receive_buffer=''
  (($1 == 0)) || receive_buffer=,setsockopt-listen=1:33:i$1 # SO_RCVBUFFORCE
}

observe_stream() { # TASK PIPELINE: from now on, the heartbeat reports the progress of all lanes, together
  local lane
  stream_bytes=()
  for lane in "${lanes[@]}"; do stream_stage[$1$lane]=${progress_program[$2]}; done
}

wait_for_stream() { # TASK: as wait_for_lanes
  local status=0
  wait_for_lanes "$1" || status=1
  stream_stage=()
  end_index
  return "$status"
}

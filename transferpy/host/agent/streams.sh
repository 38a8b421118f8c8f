# The streams of a session: the steps of other abilities before, during and after a stream.
# requires: agent/tasks agent/digests lib/pipes

# The names of functions. The first one that fails ends the work on a stream.
before_send=()
during_send=() # TASK
at_stream_end=() # after a stream that was sent or has failed, before its result counts
after_send=()  # TASK
during_receive=()
while_receiving=() # BYTES: once a second
after_receive=()

start_stream() { # TASK PIPELINE
  start_task "$1" "$2"
  stream_stage[$1]=${progress_program[$2]}
}

wait_for_stream() { # TASK
  wait_for_task "$1"
  unset "stream_stage[$1]"
  end_index
}

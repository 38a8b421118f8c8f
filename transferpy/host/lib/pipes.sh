# The functions and programs that rendered pipelines call.
# requires: lib/processes lib/runs perl/widen_pipe perl/tee perl/limit perl/count perl/watch_peer

lane='' # the suffix in the names of the tasks and files of the current lane; empty for the first one: see agent/lanes

widen_pipe() { # sets the capacity of the pipe on standard input to 1 MiB; the default is 64 KiB
  # The stages wait less for each other, and copy in half the time. Without perl, the pipe keeps its capacity.
  ! command -v perl >/dev/null || perl -e "$perl_widen_pipe" 2>/dev/null
}

measure_input() { # TASK COMMAND [ARGUMENT ...]: runs a command, and writes the number of bytes it has read to TASK.read
  local status
  "${@:2}"
  status=$?
  ! read_bytes_read "$BASHPID" || printf %s "$REPLY" >"$run_directory/$1.read"
  return "$status"
}

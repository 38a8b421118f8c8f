# The functions that rendered pipelines call.
# requires: lib/environment perl/widen_pipe perl/tee perl/limit perl/count

widen_pipe() { # has the pipe on standard input hold 1 MiB, the most that any kernel allows, instead of 64 KiB
  # Stages that wait less for each other copy in half the time. Without perl the pipe stays as it is.
  ! command -v perl >/dev/null || perl -e "$perl_widen_pipe" 2>/dev/null
}

metered() { # NAME COMMAND [ARGUMENT ...]: runs the first stage of that job, and leaves in NAME.read how much it has read
  local line status
  "${@:2}"
  status=$?
  # What a process has read is added to what its parent has when it ends.
  while IFS= read -r line; do
    [ "${line%%:*}" != rchar ] || printf %s "${line#*: }" >"$run_directory/$1.read"
  done <"/proc/$BASHPID/io" 2>/dev/null
  return "$status"
}

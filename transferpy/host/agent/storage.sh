# The file system of the target after a failure: many programs that cannot write do not report the reason.
# requires: agent/tasks perl/storage

examine_storage() { # reports a fault of the file system of the working directory
  local fault='' text='' deadline
  start_task storage write_probe
  read_uptime
  deadline=$((REPLY + 300))
  # A write to a broken disk may never end.
  while [ -z "${task_statuses[storage]-}" ] && ((REPLY < deadline)); do
    wait_for_message 0.1
    read_uptime
  done
  { read -r fault text <"$run_directory/storage"; } 2>/dev/null
  [ -z "$fault" ] || emit storage fault="$fault" path="$(encode "$target_directory")" text="$(encode "$text")"
}

write_probe() {
  perl -e "$perl_storage" ".transferpy-probe-$run_id" >"$run_directory/storage"
}

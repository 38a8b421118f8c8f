# The session: the one process that changes a host, and that undoes its changes however it ends.
#
# A session has abilities. Each ability is a file of agent/ with a function prepare_ABILITY, which changes the host as the
# ability requires, and registers the session commands that the session can then run. A session command is a line on standard
# input, "command WORD ...". The session ends when it gets the command "stop", when its standard input ends and when nothing
# reads its events.
# requires: lib/lists agent/tasks agent/keys agent/replication lib/cgroup

declare -A command_handler=() # by session command, the function that runs it

run_session() {
  local ability
  begin_session
  start_key
  for ability in "${abilities[@]}"; do
    "prepare_$ability"
  done
  finish_key
  emit ready certificate="$certificate"
  run_commands
}

run_commands() { # runs session commands until the session ends
  local command
  while :; do
    await_command
    [ -n "${command_handler[${command[0]}]-}" ] || fail host "unexpected session command: ${command[0]}"
    "${command_handler[${command[0]}]}" "${command[@]:1}"
  done
}

await_command() { # waits for the next session command; sets the array command to its words
  while [ ${#pending_commands[@]} -eq 0 ]; do wait_for_message 1; done
  read -ra command <<<"${pending_commands[0]}"
  pending_commands=("${pending_commands[@]:1}")
}

begin_session() { # makes the run directory, and sets the traps that undo all changes
  local tries=0
  [ "$priority" = normal ] || lower_priority
  read_start_time $$ || fail host "cannot read /proc"
  run_directory=$run_root/run.$run_id.$$.$REPLY
  trap end_session EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 141' PIPE
  trap 'exit 143' TERM
  # Another run that ends at this moment may remove the root directory while it is empty.
  # With an explicit mode: a default ACL of /run takes the place of the umask.
  until { [ -d "$run_root" ] || mkdir -m 700 -- "$run_root"; } && mkdir -m 700 -- "$run_directory"; do
    ((++tries < 5)) || fail host "cannot make a directory below $run_root: is /run full or read-only?"
  done 2>/dev/null
  { [ -O "$run_root" ] && [ ! -L "$run_root" ]; } || fail host "$run_root does not belong to root"
  {
    printf %s "$identifier" >"$run_directory/job" && mkfifo -- "$run_directory/control" &&
      exec {input}<&0 {control}<>"$run_directory/control" 2>>"$run_directory/session.err" >/dev/null </dev/null
  } || fail_cannot_write
  find_lists "$run_directory"
  mkdir -m 700 -- "$REPLY" 2>/dev/null || fail host "cannot make a directory in $lists_root: is it full or read-only?"
  lists=$REPLY
  enter_cgroup "transferpy.$identifier" "$run_directory/cgroup" || fail_cannot_write
  pass_input_on &
  exec {input}<&-
  emit hello directory="$(encode "$run_directory")"
}

pass_input_on() { # turns the lines and the end of standard input into messages
  exec {events}>&- <&"$input" 1>&"$control"
  cat
  if (($? > 128)); then echo 'input lost'; else echo 'command stop'; fi
}

exit() { # STATUS: takes the place of the builtin
  # A signal at the very beginning of the EXIT trap would run exit again, and end the shell within that trap.
  trap '' HUP INT PIPE TERM
  builtin exit "$1"
}

find_own_processes() { # a search for the processes of this session, without those of start_urgent_undo
  if [ -n "$cgroup" ]; then find_in_cgroup "$cgroup"; else find_tasks "$run_directory" "$$"; fi
}

end_session() { # the EXIT trap: undoes all changes of the session
  local status=$? undone=yes
  IFS=$' \t\n' # a signal may arrive while a read has another IFS
  # No signal ends the clean-up. Its children inherit that.
  trap '' HUP INT PIPE TERM
  trap - EXIT
  # The clean-up goes on when nothing reads the events.
  emit() { printf '@transferpy %s %s\n' "$run_id" "$*" 1>&"$events" || return 0; }
  [ "$priority" = normal ] || renice -n 0 -p $$ >/dev/null 2>&1 # the orchestration host waits for the clean-up
  emit ending
  cd /
  release_locks
  leave_cgroup
  rm -f -- "$run_directory/key.pem"
  start_urgent_undo "$run_directory" start_at_end
  end_processes 250 6000 sleep find_own_processes || undone=no
  undo_the_rest "$run_directory" start_again || undone=no
  remove_cgroup "$cgroup" || undone=no
  [ -z "$lists" ] || rm -rf -- "$lists"
  [ "$undone" = no ] || remove_run_directory "$run_directory"
  emit end status="$status" undone="$undone"
  exit "$status"
}

# The preflight: asks one host everything that the plan needs, as events. It changes nothing but what dead runs left.
# requires: lib/events lib/processes lib/recovery preflight/host preflight/source preflight/database preflight/routes preflight/firewall preflight/target

about() { # PATH: what the next question is about; should no answer come, that is what is named
  emit asking about="$(encode "$1")"
}

begin_watch() { # from here on the host says every five seconds that its tools get on, as long as they do
  # To measure a large tree takes long, and nothing comes of it before its end. What waits for a file system that hangs
  # uses no processor.
  exec {watch}<> <(:)
  watch_over "$$" &
}

end_watch() {
  echo >&"$watch"
  exec {watch}>&-
  wait
}

watch_over() { # PID: until end_watch, or as long as that process lives
  local pids pid stat before='' now
  while ! read -r -t 5 -u "$watch" && kill -0 "$1" 2>/dev/null; do
    job_processes "$job"
    now=''
    for pid in "${pids[@]}"; do
      [ "$pid" != "$BASHPID" ] || continue
      stat=''
      { IFS= read -r -d '' stat <"/proc/$pid/stat"; } 2>/dev/null
      read -ra stat <<<"${stat##*) }"
      now+=" $pid:${stat[11]-}:${stat[12]-}" # in the program, and for it in the kernel
    done
    [ "$now" = "$before" ] || emit progress
    before=$now
  done
}

keep_input() { # for await_script: no tool of the questions may read it
  exec {input}<&0 </dev/null
}

await_script() { # goes on, in this process, with the script that comes on the standard input; ends if none comes
  local length script
  # Whoever was to send it may have vanished without a word.
  read -r -t 300 -u "$input" length && [[ -n $length && $length != *[!0-9]* ]] || exit 0
  script=$(timeout 60 head -c "$length" <&"$input")
  [ ${#script} -eq "$length" ] || exit 1
  # Whatever it starts would keep the connection open by what it inherits.
  exec <&"$input" {input}<&- {events}>&-
  eval "$script"
}

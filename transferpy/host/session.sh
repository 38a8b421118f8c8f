# shellcheck shell=bash disable=SC2015,SC2154
# (SC2015: "a && b || fail" is meant as it reads. SC2154: variables come from the lines before this text.)
# The session: the one process that changes a host, and undoes what it did however it ends.
#
# Orders are lines on its standard input. With the end of that, or of whoever reads its events, the session ends.
#
# Set before this text, besides run_id: role, encrypt, checksum (yes or no), cores, priority (low or normal), watched_by (the
# stage whose reading is the progress of the stream, by codec), with checksums digester and digest_tool, and by role the
# variables and functions named at source_session and target_session.

# --- beginning and end ------------------------------------------------------------------------------------------------

begin() {
  local tries=0
  [ "$priority" = normal ] || step_back
  process_start $$ || fail host "cannot read /proc"
  run_directory=$run_root/run.$role.$run_id.$$.$REPLY
  trap finish EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 141' PIPE
  trap 'exit 143' TERM
  # Another run that ends at this moment may remove the empty root directory under our hands.
  until mkdir -p -- "$run_root" && mkdir -- "$run_directory"; do
    ((++tries < 5)) || fail host "cannot make a directory below $run_root: is /run full or read-only?"
  done 2>/dev/null
  [ -O "$run_root" ] && [ ! -L "$run_root" ] || fail host "$run_root does not belong to root"
  printf %s "$job" >"$run_directory/job" && mkfifo -- "$run_directory/control" &&
    exec {orders}<&0 {control}<>"$run_directory/control" 2>>"$run_directory/session.err" >/dev/null </dev/null ||
    fail host "cannot write in $run_directory: is it full?"
  # What the orchestration host says joins what the jobs say. Its silence is an order too.
  {
    exec {events}>&-
    cat
    (($? > 128)) && echo 'orders lost' || echo 'order stop'
  } <&"$orders" 1>&"$control" &
  exec {orders}<&-
  emit hello directory="$(encode "$run_directory")"
}

exit() { # STATUS: in place of the shell's own
  # A signal that comes when the EXIT trap has just begun would end the shell by an exit of its own, in the midst of that.
  trap '' HUP INT PIPE TERM
  builtin exit "$1"
}

finish() {
  local status=$? undone=yes
  IFS=$' \t\n' # a signal may come while hear has another one
  # Nothing cuts the clean-up short, however it began; the children inherit that.
  trap '' HUP INT PIPE TERM
  trap - EXIT
  # The orchestration host may be gone; then nobody reads the events, and the clean-up goes on all the same.
  emit() { printf '@transferpy %s %s\n' "$run_id" "$*" 1>&"$events" || return 0; }
  [ "$priority" = normal ] || renice -n 0 -p $$ >/dev/null 2>&1 # nobody shall wait for the clean-up
  emit ending
  stop_processes "$job" || undone=no
  cd /
  [ -z "${port_lock-}" ] || exec {port_lock}>&-
  [ -z "${replication_lock-}" ] || exec {replication_lock}>&-
  rm -f -- "$run_directory/key.pem"
  # A source has nothing else to undo.
  resume_replication && undo "$run_directory" || undone=no
  [ "$undone" = no ] || remove_run_directory "$run_directory"
  emit end status="$status" undone="$undone"
  exit "$status"
}

# --- jobs and orders --------------------------------------------------------------------------------------------------

declare -A ended=() job_pid=()
declare -A followed_by=() # what to do when a job has ended, by its name
pending=()
heard=''
last_beat=0
connected=unknown
on_disk=0

launch() { # NAME FUNCTION [ARGUMENT ...]: runs it in the background, in a process group of its own
  local name=$1
  shift
  unset "ended[$name]"
  set -m
  (
    trap - EXIT HUP INT PIPE TERM
    exec {events}>&- # or the ssh connection would stay open as long as any of the job's processes
    [ -z "${port_lock-}" ] || exec {port_lock}>&-
    [ -z "${replication_lock-}" ] || exec {replication_lock}>&-
    statuses=()
    "$@"
    # A pipeline leaves the status of each stage, anything else its own.
    printf 'ended %s %s\n' "$name" "${statuses[*]:-$?}" 1>&"$control"
  ) 2>"$run_directory/$name.err" &
  set +m
  job_pid[$name]=$!
}

take_in() { # LINE: what a job or the orchestration host says
  case $1 in
    'ended '*)
      set -- "${1#ended }"
      ended[${1%% *}]=${1#* }
      [ -z "${followed_by[${1%% *}]-}" ] || "${followed_by[${1%% *}]}"
      ;;
    'order stop') exit 0 ;;
    'orders lost') fail host "the process that takes the session's orders was killed" ;;
    'order '*) pending+=("${1#order }") ;;
  esac
}

hear() { # SECONDS: waits that long at most for a line of somebody's, and takes it in
  local line
  if IFS= read -r -t "$1" -u "$control" line; then
    line=$heard$line heard=''
    take_in "$line"
  else
    # The time may be over in the middle of a line; what has been read of it is not in the fifo any more.
    heard+=$line
    return 1
  fi
}

watch() { # SECONDS: waits that long at most for somebody's word, and says once a second that the session lives
  local name
  ! hear "$1" || return 0
  ((EPOCHSECONDS != last_beat)) || return 0
  last_beat=$EPOCHSECONDS
  for name in "${!job_pid[@]}"; do
    [ -z "${ended[$name]-}" ] && ! kill -0 "${job_pid[$name]}" 2>/dev/null || continue
    # A job that was killed says nothing; but its last word may have come just now.
    while hear 0.1; do :; done
    [ -n "${ended[$name]-}" ] || take_in "ended $name 137"
  done
  beat
}

beat() { # says how far the stream is; with nobody to hear it, the session ends here
  local child children=() inner=() name='' bytes='' line pid=${job_pid[${stream:-none}]-none}
  { read -ra children <"/proc/$pid/task/$pid/children"; } 2>/dev/null
  for child in "${children[@]}"; do
    # The first stage is run by a shell of its own.
    { read -ra inner <"/proc/$child/task/$child/children"; } 2>/dev/null
    children+=("${inner[@]}")
  done
  for child in "${children[@]}"; do
    { read -r name <"/proc/$child/comm"; } 2>/dev/null
    [ "$name" = "$watched" ] || continue
    while IFS= read -r line; do
      [ "${line%%:*}" != rchar ] || bytes=${line#*: }
    done <"/proc/$child/io"
  done 2>/dev/null
  # Each listener closes its port when it has accepted; the connection itself may be over again by now.
  if [ "$connected" = no ] && ! is_listening_itself; then
    connected=yes
    emit connected
  fi
  [ "${stream-}" != receive ] || write_behind "${bytes:-0}"
  emit progress ${bytes:+bytes="$bytes"}
}

write_behind() { # BYTES: what has arrived; the more of it goes to disk now, the less the end of the stream waits for
  [ "$checksum" = no ] || return 0 # what is digested has to be on disk before that
  (($1 - on_disk >= 64 << 20)) || return 0
  # One that failed stays as it ended: the kernel tells each fault but once.
  [ -z "${job_pid[sync]-}" ] || [ "${ended[sync]-}" = 0 ] || return 0
  on_disk=$1
  launch sync sync -f .
}

await_end() { # NAME: waits until that job has ended; its exit statuses are then in ended[NAME]
  while [ -z "${ended[$1]-}" ]; do watch 1; done
}

await_order() { # WORD ...: waits for an order that begins with one of the words; sets the array order
  while [ ${#pending[@]} -eq 0 ]; do watch 1; done
  read -ra order <<<"${pending[0]}"
  pending=("${pending[@]:1}")
  case " $* " in
    *" ${order[0]} "*) ;;
    *) fail host "got the order ${order[0]}, but expected $*" ;;
  esac
}

report_end() { # NAME: tells how a job ended; fails unless every stage of it ended with 0
  local name=$1 file stage
  for file in "$run_directory/$name".err "$run_directory/$name".*.err; do
    [ -s "$file" ] || continue
    stage=${file#"$run_directory/$name."} stage=${stage%err} stage=${stage%.}
    emit stderr job="$name" stage="${stage:--}" text="$(tail -c 2000 -- "$file" | base64 -w0)"
  done
  emit stages job="$name" statuses="${ended[$name]// /,}"
  [[ ${ended[$name]} != *[!0\ ]* ]]
}

reason() { # FILE: prints the end of what a command wrote into that file of the run directory
  local text
  text=$(tail -c 500 -- "$run_directory/$1")
  # On a full disk it could not.
  printf %s "${text:-is $run_directory full?}"
}

widen_pipe() { # has the pipe on standard input hold 1 MiB, the most that any kernel allows, instead of 64 KiB
  # Stages that wait less for each other copy in half the time. No shell can say it, but every Debian system has a perl
  # that can: F_SETPIPE_SZ, by its number. Without it the pipe stays as it is.
  ! command -v perl >/dev/null || perl -e 'fcntl STDIN, 1031, 1 << 20' 2>/dev/null
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

run_job() { # NAME FUNCTION [ARGUMENT ...]: launches a job, waits for it and reports a failure; fails as the job does
  launch "$@"
  await_end "$1"
  [[ ${ended[$1]} != *[!0\ ]* ]] || report_end "$1"
}

# --- ports ------------------------------------------------------------------------------------------------------------

listening() { # sets the array ports to the local ports on which something listens
  local line tool=(netstat -tan)
  ! command -v ss >/dev/null || tool=(ss -Htan)
  ports=()
  # Both print the local address in the fourth column.
  while read -ra line; do
    [[ ${line[*]} != *LISTEN* ]] || ports+=("${line[3]##*:}")
  done < <(exec "${tool[@]}" 2>/dev/null)
}

is_listening() { # whether something listens on the port
  local ports
  listening
  [[ " ${ports[*]} " == *" $port "* ]]
}

is_listening_itself() { # whether something of this user's listens there: another user may have been faster
  local hex
  printf -v hex %04X "$port"
  # Local address, remote address, state (listening), queues, timer, retransmissions, user.
  grep -Eqs ": [0-9A-F]+:$hex [0-9A-F:]+ 0A [0-9A-F:]+ [0-9A-F:]+ [0-9A-F]+ +$EUID " /proc/net/tcp /proc/net/tcp6
}

take_port() { # PORT: locks it among the runs of this host; fails if another has it
  local file=$run_root/port.$1
  on_undo port remove_lock_file "$file"
  exec {port_lock}>>"$file" || return
  # A file that was removed between open and lock is nobody's lock.
  if flock -n "$port_lock" && [ "$file" -ef "/proc/self/fd/$port_lock" ]; then
    port=$1
    return 0
  fi
  exec {port_lock}>&-
  port_lock=
  rm -f -- "$run_directory"/undo.*.port # the file is the other run's
  return 1
}

release_port() {
  exec {port_lock}>&-
  port_lock=
  undo "$run_directory" port
}

reserve_port() { # WANTED: a port, or 0 for a free one; sets port
  local candidate ports offset=$((RANDOM % 100))
  if [ "$1" -ne 0 ]; then
    # One that just ends holds it for a moment more.
    for ((candidate = 0; candidate < 20; candidate++)); do
      ! take_port "$1" || break
      watch 0.1
    done
    [ -n "${port_lock-}" ] || fail port "port $1 is reserved by another transfer"
    ! is_listening || fail port "port $1 is in use"
    return
  fi
  listening
  for ((candidate = 0; candidate < 100; candidate++)); do
    port=$((4400 + (candidate + offset) % 100))
    [[ " ${ports[*]} " != *" $port "* ]] || continue
    take_port "$port" || continue
    ! is_listening || { release_port; continue; }
    return
  done
  fail port "no free port between 4400 and 4499"
}

await_listening() { # JOB: waits until its listener can be seen
  # A listener takes some hundredths of a second to start, and the look as long: the first one should not be in vain.
  until { watch 0.01; is_listening_itself; }; do
    [ -z "${ended[$1]-}" ] || return 1
  done
  return 0 # not what the loop's last command had to say
}

# --- keys -------------------------------------------------------------------------------------------------------------

begin_key() { # NAME: begins to make a fresh key pair and a certificate for that name, where there is a use for it
  # A job: a signal has to wait for what runs in the foreground.
  [ "$encrypt" = no ] || launch key write_key "$1"
}

await_key() { # sets certificate
  [ "$encrypt" = yes ] || return 0
  await_end key
  [ "${ended[key]}" = 0 ] || fail host "cannot make a key (is $run_directory full?): $(reason key.err)"
  certificate=$(base64 -w0 <"$run_directory/certificate.pem")
}

write_key() { # NAME: into the run directory
  # Valid from 1970 on, so that a clock that goes wrong on one of the hosts does not matter: the pinned key is the proof,
  # and it lives only as long as this session.
  cd "$run_directory" && : >index && printf '%s\n' '[ca]' 'default_ca=own' '[own]' 'database=index' 'rand_serial=yes' \
    'default_md=sha256' 'policy=any' 'new_certs_dir=.' '[any]' 'commonName=supplied' '[req]' 'distinguished_name=dn' \
    '[dn]' >ca.cnf &&
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj "/CN=$1" -config ca.cnf \
      -out request.pem &&
    openssl ca -batch -selfsign -notext -config ca.cnf -keyfile key.pem -in request.pem \
      -startdate 19700101000000Z -enddate 99991231235959Z -out certificate.pem
}

accept_peer() { # CERTIFICATE: the only one that this session's stream accepts from now on
  base64 -d <<<"$1" >"$run_directory/peer.pem" || fail host "cannot write in $run_directory: is it full?"
}

# --- what is there ----------------------------------------------------------------------------------------------------

list_tree() { # NAME MANIFEST [STAMPS]: lists what is below ./NAME, a record each, sorted
  # The manifest is what both ends must agree on. The stamps tell a later call on the same host whether anything changed.
  local parts=("$2.raw" "$3.raw" "$2.sockets")
  find "./$1" \
    \( -type f -fprintf "${parts[0]}" 'f %m %U %G %s %p\0' -fprintf "${parts[1]}" '%i %s %T@ %C@ %p\0' \) -o \
    \( -type d -fprintf "${parts[0]}" 'd %m %U %G - %p\0' \) -o \
    \( -type l -fprintf "${parts[0]}" 'l - %U %G %s %p -> %l\0' -fprintf "${parts[1]}" '%i %s %T@ %C@ %p\0' \
    \( ! -links +1 -o -fprintf "$2.links" '%D:%i\n' \) \) -o \
    \( -type p -fprintf "${parts[0]}" 'p %m %U %G - %p\0' \) -o \
    \( -type s -fprintf "${parts[2]}" '%p\0' \) -o \
    -exec stat --printf '%f - %u %g %t:%T %n\0' {} + >"$2.devices" &&
    sort -z -- "${parts[0]}" "$2.devices" >"$2" && sort -z -- "${parts[1]}" >"$3" &&
    rm -f -- "${parts[@]:0:2}" "$2.devices"
}

digest_files() { # ROLE [PROCESS]: the digests of what tar reads or writes, right behind it; of whose children it is one
  local list=$run_directory/digests
  # shellcheck disable=SC2154 # the program, and its tool, come from the lines before
  perl -e "$digester" -- "$run_directory/members" "$list" "$cores" "$1" "/proc/${2-self}/task/${2-self}/children" \
    "${digest_tool[@]}" && sort -z -- "$list.raw" >"$list" && rm -f -- "$list.raw"
}

report_digests() { # once all files have been named: waits for the last of them, and tells; fails if there are none
  local further
  await_end digest
  if [ "${ended[digest]}" != 0 ]; then
    report_end digest
    return 1
  fi
  # What no list names, nobody compares. Of a further name of a symbolic link tar says what it says of a file's.
  further=$(($(wc -l <"$run_directory/manifest.links") - $(sort -u "$run_directory/manifest.links" | wc -l)))
  [ $(($(grep -azc '^f ' <"$run_directory/manifest") + further)) = "$(<"$run_directory/digests.count")" ] ||
    fail content 'not all files have been digested: tar named others than there are'
  report_list digests "$run_directory/digests"
}

stop_job() { # NAME: ends all its processes, if any are left, and forgets it; fails if one cannot be ended
  local group=${job_pid[$1]-} signal tries status=1
  [ -n "$group" ] || return 0
  for signal in TERM KILL; do
    group_lives "$group" || break
    kill -s "$signal" -- "-$group" 2>/dev/null
    for ((tries = 0; tries < 100; tries++)); do
      watch 0.01
      group_lives "$group" || break 2
    done
  done
  group_lives "$group" || status=0
  # It may have ended by itself just before: nobody shall take its last word for the end of the next job of this name.
  while hear 0.01; do :; done
  unset "job_pid[$1]" "ended[$1]"
  return "$status"
}

group_lives() { # GROUP: whether a process of that group lives; those that are dead and that init is slow to take do not
  kill -0 -- "-$1" 2>/dev/null && grep -Eqs "^[0-9]+ \(.*\) [^ZX] [0-9]+ $1 " /proc/[0-9]*/stat
}

count_records() { # FILE
  # Where there is none, grep says 0 and fails.
  grep -azc '' <"$1" || [ ! -s "$1" ]
}

report_list() { # EVENT FILE: the digest of a list of records, and how many there are
  local digest
  read -r digest _ < <(sha256sum <"$2") || fail host "cannot read the list ${2##*/}"
  emit "$1" digest="$digest" entries="$(count_records "$2")"
}

# --- the two roles ----------------------------------------------------------------------------------------------------

enter() { # DIRECTORY: makes it the working directory; PWD is then its path without symbolic links
  [[ $1 == /* ]] || set -- "./$1" # to cd, a dash means something else
  cd -P -- "$1" 2>/dev/null || fail host "cannot enter the directory $1"
}

source_session() {
  # Variables: source_directory, source_name, own_name; for a backup client, the words of the database's client, and
  # stop_slave; tried, the codecs to try on a sample, and then sampler, sample_directory and sampled_bytes. Functions:
  # pipelines that read peer_address and port, send_TARGET_CODEC and probe_TARGET; try_CODEC.
  local certificate='' stream='' replication_seen='' watched=''
  begin
  begin_key "$own_name"
  # The sample is taken while keys are made, of what the manifest names.
  [ ${#tried[@]} -eq 0 ] || followed_by=([manifest]=begin_sample [sample]=report_sample)
  if [ "$transfer_type" = xtrabackup ]; then
    enter "$run_directory"
    [ ${#tried[@]} -eq 0 ] || begin_sample
  else
    enter "$source_directory"
    launch manifest list_tree "$source_name" "$run_directory/manifest" "$run_directory/stamps"
  fi
  await_key
  emit ready certificate="$certificate"
  while :; do
    await_order send probe resume
    case ${order[0]} in
      send) send_to "${order[@]:1}" ;;
      probe) probe_link "${order[@]:1}" ;;
      resume) resume_replication ;;
    esac
  done
}

begin_sample() { # where the manifest failed, whoever waits for it says so
  launch sample take_sample
}

report_sample() { # tells how small each codec made a sample of the data, and how fast
  local label size microseconds trials=''
  if [ "${ended[sample]}" = 0 ]; then
    while read -r label size microseconds; do
      trials+=${trials:+,}$label:$size:$microseconds
    done <"$run_directory/trials"
  fi
  emit sample size="$(stat -c %s -- "$run_directory/sample" 2>/dev/null || echo 0)" trials="$trials"
  rm -f -- "$run_directory/sample"
}

take_sample() { # in the job "sample": into the file "trials"
  local list=$run_directory/manifest label size began
  if [ -n "$sample_directory" ]; then
    list=$run_directory/sampled
    find "$sample_directory" -type f \( -name '*.ibd' -o -name 'ibdata*' -o -name '*.MYD' -o -name '*.MAD' \) \
      -printf '%s %p\0' >"$list" || return
  fi
  perl -e "$sampler" -- "$list" "$sampled_bytes" >"$run_directory/sample" || return
  for label in "${tried[@]}"; do
    began=${EPOCHREALTIME//[!0-9]/}
    size=$("try_$label" <"$run_directory/sample" | wc -c) || return
    printf '%s %s %s\n' "$label" "$size" $((${EPOCHREALTIME//[!0-9]/} - began))
  done >"$run_directory/trials"
}

# shellcheck disable=SC2034 # peer_address is read by the pipeline
probe_link() { # TARGET ADDRESS PORT [CERTIFICATE]: sends nothing of value, for the target to see how fast it comes
  local peer_address=$2 port=$3
  [ "$encrypt" = no ] || accept_peer "$4"
  launch probe "probe_$1"
  await_end probe # never well: the target takes only so much
  emit probed
}

# shellcheck disable=SC2034 # peer_address is read by the pipeline
send_to() { # TARGET CODEC ADDRESS PORT [CERTIFICATE]: one stream to one target
  local name=send_$1 codec=$2 peer_address=$3 port=$4
  [ "$encrypt" = no ] || accept_peer "$5"
  if [ "$transfer_type" = xtrabackup ]; then
    run_job tables list_tables "$source_directory" "$run_directory/tables.before" || return
    [ "$stop_slave" = no ] || [ -n "$replication_seen" ] || stop_replication "${client[@]}"
    replication_seen=yes
  else
    # The list stands before the first byte is read: what changes after that can be seen.
    await_end manifest
    if [ "${ended[manifest]}" != 0 ]; then
      report_end manifest
      return
    fi
  fi
  # They are needed once, but of a stream that went through: those of another one end where it ended.
  [ "${ended[digest]-}" = 0 ] || stop_job digest
  rm -f -- "$run_directory/members" "$run_directory/members.end"
  emit sending
  launch "$name" "${name}_$codec"
  stream=$name watched=${watched_by[$codec]}
  [ "$checksum" = no ] || [ -n "${ended[digest]-}" ] || launch digest digest_files source "${job_pid[$name]}"
  await_end "$name"
  stream=''
  : >"$run_directory/members.end"
  [ ! -e "$run_directory/stream.digest" ] || report_stream_digest "$name"
  report_end "$name" && "source_checks_$transfer_type" "$name" && emit checked
}

report_stream_digest() { # NAME
  emit stream-digest job="$1" digest="$(cut -d' ' -f1 "$run_directory/stream.digest")"
}

source_stood_still() { # NAME: whether what was sent is what was there before
  local before=$run_directory/manifest stamps=$run_directory/stamps after=$run_directory/again
  run_job stamps list_tree "$source_name" "$after" "$stamps.again" || return
  if ! cmp -s "$stamps" "$stamps.again" || ! cmp -s "$before" "$after"; then
    emit changed job="$1" paths="$({
      comm -z -3 -- "$before" "$after"
      comm -z -3 -- "$stamps" "$stamps.again"
    } | sed -z 's,^[^/]*\./,,' | sort -zu | head -zn 5 | base64 -w0)"
    return 1
  fi
}

source_checks_file() { # NAME
  source_stood_still "$1" || return
  report_list manifest "$run_directory/manifest"
  [ "$checksum" = no ] || { await_digest "$1" && report_digests; }
}

await_digest() { # NAME: waits for the end of that job, as long as the source stands still
  # What reads a file to which somebody adds without end never comes to its end. To look takes long where there are many
  # files, so each time twice as much has passed.
  local began=$EPOCHSECONDS patience=60
  while [ -z "${ended[digest]-}" ]; do
    watch 1
    ((EPOCHSECONDS - began >= patience)) || continue
    source_stood_still "$1" || return
    patience=$((patience * 2))
  done
}

source_checks_decompress() { # NAME
  source_stood_still "$1"
}

source_checks_xtrabackup() { # NAME
  local list=$run_directory/tables
  run_job backup check_backup_log "$run_directory/$1.0.err" || return
  # One that came or went meanwhile need not be in the backup.
  run_job tables list_tables "$source_directory" "$list.after" || return
  comm -z -12 -- "$list.before" "$list.after" >"$list" || fail host "cannot write in $run_directory: is it full?"
  report_list tables "$list"
}

list_tables() { # DIRECTORY LIST [SUFFIX]: the tables of a server, or of a copy of one, by the files that hold their data
  # A directory of theirs may be a link. What cannot be looked at went away, or the backup tool fails on it.
  find -L "$1" -mindepth 2 -maxdepth 2 -type f -size +0 \
    '(' -name '*.ibd' -o -name '*.MYD' -o -name '*.MAD' -o -name "*.${3-ibd}" ')' \
    ! -name '#sql*' -printf '%P\0' 2>/dev/null | grep -azv '^[.#]' | sort -z >"$2"
  [ "${PIPESTATUS[2]}" = 0 ]
}

says_completed() { # FILE: whether that log of a backup tool ends as it does only when all went well
  tail -n 3 -- "$1" | grep -q 'completed OK!'
}

check_backup_log() { # FILE
  says_completed "$1" || {
    tail -n 20 -- "$1" >&2
    echo "the log of the backup does not end with 'completed OK!'" >&2
    return 1
  }
}

target_session() {
  # Variables: target_directory, staging_name, source_name, final_name, own_name, wanted_port, owner; prepare, probe
  # and create_target (yes or no).
  # Functions: note_firewall_rules, which has each rule that open_firewall adds removed again; receive_CODEC and probe, pipelines
  # that read port; prepare_copy.
  local certificate='' stream='' target made_target='' totals='' watched=''
  begin
  begin_key "$own_name"
  [ "$create_target" = no ] || make_target "$target_directory"
  enter "$target_directory"
  # The target is held open: whoever may rename things on the way to it cannot make the run write elsewhere.
  exec {target}<.
  [ "$transfer_type" = file ] || claim_target
  reserve_port "$wanted_port"
  # Before the firewall, which is so closed before a large half copy is removed: that takes a while.
  on_undo staging remove_directory "$PWD/$staging_name"
  make_staging || fail host "cannot make a directory in $target_directory"
  note_firewall_rules
  # A job, as begin_key: iptables may have to wait for its lock.
  launch firewall open_firewall
  await_end firewall
  [ "${ended[firewall]}" = 0 ] || fail firewall "cannot open the firewall: $(reason firewall.err)"
  await_key
  emit ready port="$port" certificate="$certificate"
  if [ "$encrypt" = yes ]; then
    await_order peer
    accept_peer "${order[1]}"
  fi
  [ "$probe" = no ] || offer_probe
  await_order receive
  followed_by=()
  stop_job probe || fail port "port $port is in use"
  receive_stream "${order[1]}"
  "target_checks_$transfer_type"
  if [ "$transfer_type" != file ]; then
    run_job totals count_content || exit 1
    totals=$(<"$run_directory/totals")
  fi
  # shellcheck disable=SC2086 # the totals are words
  emit checked $totals
  await_order publish
  [ "$prepare" = no ] || run_job prepare prepare_and_check || exit 1
  case $transfer_type in
    file) give_away "./$source_name" && publish_entry ;;
    *) give_away . && publish_content ;;
  esac
  local made=/proc/self/fd/$target/.
  emit published ${made_target:+inode="$(stat -c %i "$made")" born="$(stat -c %W "$made")"}
  exit 0
}

make_target() { # DIRECTORY: makes it, and what is missing above it; all of that goes away again if the session fails
  local path=$1 missing=()
  [[ $path == /* ]] || path=$PWD/$path
  # With a slash at its end it would be a second name, of what is there already when its turn comes.
  while [[ $path == ?*/ ]]; do path=${path%/}; done
  while [ ! -e "$path" ] && [ ! -L "$path" ]; do
    missing=("$path" "${missing[@]}")
    path=${path%/*}
    path=${path:-/}
  done
  for path in "${missing[@]}"; do
    on_undo target remove_empty_directory "$path"
    # Another run may need the same one, and have been faster.
    mkdir -- "$path" 2>"$run_directory/mkdir.err" && made_target=yes || { [ -d "$path" ] && made_target=''; } ||
      fail host "cannot make the directory $path: $(reason mkdir.err)"
  done
}

count_content() { # writes how many regular files there are below the working directory, and how many bytes they have
  find . -type f -printf '%s\n' | awk '{ bytes += $1 } END { printf "files=%d bytes=%.0f", NR, bytes }' >"$run_directory/totals"
}

make_staging() { # and enters it: the directory that was made, whatever has its name by then
  # With its mode: where the target has a default ACL, that counts and the umask does not.
  mkdir -m 700 -- "$staging_name" && cd -P -- "$staging_name" || return
  # Whoever may write in the target may have put a link in its place, which would lead all that follows elsewhere.
  [ .. -ef "/proc/self/fd/$target/." ] && [ -O . ] && [[ $(stat -c %a .) == *700 ]] &&
    [ -z "$(find . -mindepth 1 -printf x -quit)" ] &&
    # One more, that nobody else can get at: what arrives may bring another owner and mode for the directory it lands in.
    mkdir -m 700 content && cd content || return
}

offer_probe() { # has a stream without value come, if it is wanted: the source takes its sample meanwhile
  followed_by=([probe]=report_link)
  launch probe probe
  await_listening probe # where it ended first, that is told as well
  emit probing port="$port"
}

report_link() { # how much came of it in how long; the job never ends well, as the counter does not read on
  emit link "$(cat -- "$run_directory/link" 2>/dev/null)"
}

receive_stream() { # CODEC
  launch receive "receive_$1"
  stream=receive watched=${watched_by[$1]}
  [ "$checksum" = no ] || launch digest digest_files target
  if await_listening receive; then
    beat # what its first stage has read by now are its own files
    connected=no
    emit listening port="$port"
  fi
  await_end receive
  stream=''
  : >"$run_directory/members.end"
  [ ! -s "$run_directory/receive.read" ] || emit progress bytes="$(<"$run_directory/receive.read")"
  # The hole is closed as soon as nothing needs it: checking may take hours. A signal ends "wait", but not what it waits for.
  undo "$run_directory" firewall &
  wait "$!"
  release_port
  [ ! -e "$run_directory/stream.digest" ] || report_stream_digest receive
  report_end receive || exit 1
  fail_for_lost_attributes
  [ -z "${job_pid[sync]-}" ] || { await_end sync && report_end sync; } || exit 1
}

fail_for_lost_attributes() {
  # tar only warns where the file system cannot hold an attribute of a file. A file system without ACLs has it warn of
  # every file, in other words; an ACL that is really lost is one of the attributes here.
  local lost
  lost=$(grep -ahm 3 "Cannot set '.*' extended attribute" "$run_directory"/receive.*.err) || return 0
  fail attributes "the file system cannot hold all attributes: $lost"
}

claim_target() { # keeps other runs from the target directory, which has to be empty
  flock -n "$target" || fail host "another transfer is at work on $target_directory"
  target_is_empty || fail host "$target_directory is not empty"
}

target_is_empty() {
  [ -z "$(find "/proc/self/fd/$target/" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name "$staging_name" -printf x -quit)" ]
}

target_checks_file() {
  run_job manifest list_tree "$source_name" "$run_directory/manifest" "$run_directory/stamps" || exit 1
  report_list manifest "$run_directory/manifest"
  [ "$checksum" = no ] || report_digests || exit 1
}

target_checks_xtrabackup() { # that the copy is one, and where in the binary logs it stands
  local file info='' position='' replica='' lost logs=("$run_directory"/receive.*.err)
  # mbstream, the last stage, ends with status 0 also where it could not make a file.
  ! lost=$(grep -aiE -m 3 "can't|cannot|failed|error" -- "${logs[-1]}" 2>/dev/null) ||
    fail content "not all of the backup could be unpacked: $lost"
  for file in xtrabackup mariadb_backup; do
    [ ! -s "${file}_info" ] || info=${file}_info
    [ ! -s "${file}_binlog_info" ] || position=$(<"${file}_binlog_info")
    [ ! -s "${file}_slave_info" ] || replica=$(<"${file}_slave_info")
  done
  [ -n "$info" ] || fail content "the backup that arrived has no info file: it is not whole"
  emit position binlog="$(encode "$position")" replica="$(encode "$replica")"
  # What the tool saw being made has another name until the copy is prepared.
  run_job tables list_tables . "$run_directory/tables" new || exit 1
  report_list tables "$run_directory/tables"
}

look_at_marks() { # reads where tar found blocks of zeros; sets marks to their number, behind_mark to whether data follows
  local number what last='' ended=no
  marks=0 behind_mark=no
  while read -r _ number what; do
    number=${number%:}
    [ -z "$last" ] || ((number == last + 1)) || behind_mark=yes
    case $what in
      *NULs*) last=$number marks=$((marks + 1)) ;;
      *) ended=yes ;;
    esac
  done
  [ "$ended" = yes ]
}

target_checks_decompress() { # that there is one directory at the top, and nothing that wanted to be elsewhere
  local tops marks behind_mark
  # Two are the end mark; most tarballs have more, to fill their last record.
  look_at_marks <"$run_directory/tarball.marks" && [ "$marks" -ge 2 ] ||
    fail content "the tarball has no mark at its end: it is not whole"
  [ "$behind_mark" = no ] || fail content "the tarball goes on behind its end mark: it is damaged, or several in one"
  ! grep -q '^tar: Removing leading' "$run_directory"/receive.*.err ||
    fail content "the tarball has absolute names or names with .."
  mapfile -d '' -t tops < <(find . -mindepth 1 -maxdepth 1 -print0)
  [ ${#tops[@]} -eq 1 ] && [ -d "${tops[0]}" ] && [ ! -L "${tops[0]}" ] ||
    fail content "the tarball has ${#tops[@]} entries at its top, where one directory is needed"
  enter "${tops[0]}"
}

prepare_and_check() { # in the job "prepare", whose standard error is the log
  prepare_copy && says_completed "$run_directory/prepare.err"
}

give_away() { # PATH: gives it to its new owner, if one was asked for, and to the disk
  [ -z "$owner" ] || run_job owner chown -hR -- "$owner" "$1" || exit 1
  run_job sync sync -f . || exit 1
}

publish_entry() { # gives the checked copy its final name, and never takes that name from anything
  local final=/proc/self/fd/$target/$final_name identity
  identity=$(stat -c %d:%i -- "./$source_name") || fail publish "the staged copy has vanished"
  [ ! -e "$final" ] && [ ! -L "$final" ] || fail publish "$target_directory/$final_name exists by now"
  printf '%s %s\0' "$identity" "$final_name" >"$run_directory/published" ||
    fail host "cannot write in $run_directory: is it full?"
  take_back_on_failure
  # mv -n of coreutils before 9.2 says nothing when it does not move; so the outcome is looked at.
  mv -nT -- "./$source_name" "$final" 2>"$run_directory/mv.err"
  [ "$(stat -c %d:%i -- "$final" 2>/dev/null)" = "$identity" ] ||
    fail publish "cannot rename the copy to $target_directory/$final_name: $(<"$run_directory/mv.err")"
  mark_complete
  keep_published
}

take_back_on_failure() { # has what the list "published" names removed again if the session fails from here on
  local place
  IFS= read -r -d '' place < <(readlink -z "/proc/self/fd/$target")
  on_undo publish take_back "$place"
}

mark_complete() { # from here on the copy may be in use, even if this session is killed before it can say so
  : >"$run_directory/complete" || fail host "cannot write in $run_directory: is it full?"
}

keep_published() { # gives the names in the target directory to the disk; the data is there already
  sync -- "/proc/self/fd/$target/." 2>"$run_directory/sync.err" ||
    fail publish "cannot write $target_directory to disk: $(<"$run_directory/sync.err")"
  rm -f -- "$run_directory"/undo.*.publish "$run_directory"/undo.*.target
}

publish_content() { # moves what is in the working directory to the target itself: all of it, or nothing
  local record name last=('(' -name ibdata1 -o -name mysql -o -name '*_info' ')')
  target_is_empty || fail publish "$target_directory is not empty any more"
  # The target has its own; an empty one of the source's is nothing.
  [ ! -d "/proc/self/fd/$target/lost+found" ] || rmdir -- lost+found 2>/dev/null
  # Without the last of them no server starts on what is there so far, should the host go down in between.
  {
    find . -mindepth 1 -maxdepth 1 ! "${last[@]}" -printf '%D:%i %P\0' | sort -z -k 2 &&
      find . -mindepth 1 -maxdepth 1 "${last[@]}" -printf '%D:%i %P\0' | sort -z -k 2
  } >"$run_directory/published" || fail host "cannot write in $run_directory: is it full?"
  take_back_on_failure
  while IFS= read -r -d '' record; do
    ((EPOCHSECONDS == last_beat)) || watch 0.01 # so that nobody takes the session for dead
    name=${record#* }
    # As in publish_entry, the outcome is looked at.
    mv -nT -- "./$name" "/proc/self/fd/$target/$name" 2>"$run_directory/mv.err"
    [ "$(stat -c %d:%i -- "/proc/self/fd/$target/$name" 2>/dev/null)" = "${record%% *}" ] ||
      fail publish "cannot move $name to $target_directory: $(<"$run_directory/mv.err")"
  done <"$run_directory/published"
  mark_complete
  [ -z "$owner" ] || chown -- "$owner" "/proc/self/fd/$target/." || fail publish "cannot set the owner of $target_directory"
  keep_published
}

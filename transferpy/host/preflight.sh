# shellcheck shell=bash disable=SC2015,SC2154
# (SC2015: "a && b || c" is meant as it reads. SC2154: run_id comes from the lines before this text.)
# The preflight: asks one host everything that the plan needs, as events. It changes nothing but what dead runs left.

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

join_words() { # WORD ...: sets REPLY to them with commas between
  local IFS=,
  REPLY=$*
}

free_bytes() { # PATH: on its file system
  stat -f -c '%a %S' -- "$1" | { read -r blocks size && echo $((blocks * size)); }
}

free_memory() { # without awk, which the host may not have
  local name kilobytes
  while read -r name kilobytes _; do
    [ "$name" != MemAvailable: ] || echo $((kilobytes * 1024))
  done </proc/meminfo
}

has() { # TOOL: whether it is there, and can be run
  hash -- "$1" 2>/dev/null
}

host_facts() { # TOOL ...: who and what this host is, and which of the tools it has
  local tool found=() ports=() line words listing=(netstat -tan)
  for tool in "$@"; do
    ! has "$tool" || found+=("$tool")
  done
  [[ " ${found[*]} " != *" ss "* ]] || listing=(ss -Htan)
  while read -ra line; do
    [[ ${line[*]} != *LISTEN* ]] || ports+=("${line[3]##*:}")
  done < <(exec "${listing[@]}" 2>/dev/null)
  join_words "${found[@]}"
  words=$REPLY
  join_words "${ports[@]}"
  emit host uid="$EUID" cores="$(nproc)" boot="$(</proc/sys/kernel/random/boot_id)" tools="$words" listening="$REPLY" \
    memory="$(free_memory)" run="$(free_bytes /run)"
}

netcat_facts() { # NAME ...: what each calls itself, as all flavours go by the name nc
  local name
  for name in "$@"; do
    has "$name" || continue
    emit netcat name="$name" help="$("$name" -h 2>&1 </dev/null | head -c 500 | base64 -w0)"
  done
}

iptables_facts() { # TOOL: its policy and one rule are enough; there may be many thousands
  local lines rules
  mapfile -n 2 lines < <(exec "$1" -w 30 -S INPUT 2>/dev/null)
  printf -v rules %s "${lines[@]}"
  emit firewall tool="$1" rules="$(encode "$rules")"
}

is_in() { # WORD FILE: whether it is one of the lines
  local line
  while read -r line; do
    [ "$line" != "$1" ] || return 0
  done 2>/dev/null <"$2"
  return 1
}

firewall_facts() { # what may filter the input of this host, each in its tool's own words
  local tool names
  for tool in iptables ip6tables; do
    [ "$tool" = iptables ] && names=/proc/net/ip_tables_names || names=/proc/net/ip6_tables_names
    # Rules in the kernel's older tables are not seen by the newer tools. Asking for them would load those tables; the
    # kernel names them only where they are in use.
    if has "$tool-legacy" && is_in filter "$names"; then
      iptables_facts "$tool-legacy"
    fi
    if has "$tool" && [[ $("$tool" -V 2>/dev/null) != *legacy* ]]; then
      iptables_facts "$tool"
    fi
  done
  ! has nft || emit firewall tool=nft rules="$(nft -j list chains 2>/dev/null | base64 -w0)"
}

holds_running_server() { # DIRECTORY: whether the data of a server is there that runs: it locks these files
  local file inode
  for file in ibdata1 aria_log_control; do
    inode=$(stat -c %i -- "$1/$file" 2>/dev/null) || continue
    ! grep -Eqs "WRITE +[0-9]+ [^ ]+:$inode " /proc/locks || return 0
  done
  return 1
}

source_facts() { # PATH: what is there, and how much
  local path=$1 directory kind='' identity='' counted='' error='' server=no
  local totals='disk=0 inodes=0 files=0 bytes=0 sockets=0'
  [[ $path == /* ]] || path=./$path
  while [[ $path == *?/ ]]; do path=${path%/}; done
  # A slash at the end means what the name points to; without it a symbolic link is copied as one.
  if [[ $1 == */ ]] && [ -L "$path" ]; then
    IFS= read -r -d '' path < <(realpath -ez -- "$path" 2>/dev/null)
  fi
  directory=${path%/*}
  read -r kind identity < <(find "$path" -maxdepth 0 -printf '%y %D:%i\n' 2>/dev/null)
  # Files with several names count once, holes do not count: that is what the copy will need.
  [ -z "$kind" ] || [ "$path" = / ] || {
    read -r counted && totals=$counted # nothing without awk, which the plan will miss
    IFS= read -r error
  } < <(find "$path" -printf '%y %D:%i %n %b %s\n' 2>&1 | awk '
    NF != 5 || $1 !~ /^.$/ { error = $0; next }
    $1 == "s" { sockets++; next }
    $1 != "d" && $3 > 1 { if (seen[$2]++) next }
    { inodes++; blocks += $4 }
    $1 == "f" { files++; bytes += $5 }
    END {
      printf "disk=%.0f inodes=%.0f files=%.0f bytes=%.0f sockets=%.0f\n", blocks * 512, inodes, files, bytes, sockets
      print error
    }')
  ! holds_running_server "$path" || server=yes
  # shellcheck disable=SC2086 # the totals are words
  emit source directory="$(encode "${directory:-/}")" name="$(encode "${path##*/}")" kind="$kind" identity="$identity" \
    error="$(encode "$error")" server="$server" $totals
}

magic_facts() { # PATH: what kind of file it is, by its first bytes and by the mark that a tar header has
  [ -f "$1" ] || set -- /dev/null # from a pipe or a terminal nothing may ever come
  emit magic first="$(head -c 6 -- "$1" 2>/dev/null | base64 -w0)" tar="$(
    tail -c +258 -- "$1" 2>/dev/null | head -c 5 | base64 -w0
  )"
}

backup_facts() { # TOOL ...: the versions of those backup tools that are there
  local tool
  for tool in "$@"; do
    ! has "$tool" || emit backup tool="$tool" version="$(encode "$("$tool" --version 2>&1)")"
  done
}

answer_seconds=60

database_facts() { # SOCKET OPTION ...: what the server there says of itself, and how much it holds
  local socket=$1 answer client field=() totals state=server exclude=() name
  shift
  client=$(type -P mariadb || type -P mysql || echo mariadb)
  if [ ! -S "$socket" ]; then
    [ -e "$socket" ] || [ -L "$socket" ] && state=other || state=missing
    emit database state="$state"
    return
  fi
  answer=$(timeout "$answer_seconds" "$client" "$@" --batch --skip-column-names --execute \
    'SELECT VERSION(), @@datadir, @@log_bin_basename, @@relay_log_basename' 2>&1) || {
    # A server that hangs accepts connections all the same.
    [ $? -ne 124 ] || answer+="${answer:+; }no answer within $answer_seconds seconds"
    state=silent
  }
  # The client may have warned of something before.
  IFS=$'\t' read -ra field <<<"${answer##*$'\n'}"
  if [ "$state" = silent ] || [ ${#field[@]} -ne 4 ] || [ ! -d "${field[1]}" ]; then
    emit database state=silent error="$(encode "$answer")"
    return
  fi
  # The logs of replication stay where they are, and may be larger than the data.
  for name in "${field[@]:2}"; do
    [ "$name" = NULL ] || exclude+=(--exclude="${name##*/}.[0-9]*")
  done
  totals="disk=$(du -s -B1 "${exclude[@]}" -- "${field[1]}" | cut -f1)"
  totals+=" inodes=$(du -s --inodes "${exclude[@]}" -- "${field[1]}" | cut -f1)"
  # shellcheck disable=SC2086 # the totals are words
  emit database state=server version="$(encode "${field[0]}")" datadir="$(encode "${field[1]}")" $totals
}

route_facts() { # INDEX HOST [ADDRESS ...]: how this host reaches a target, and from which address
  local index=$1 address route candidates=()
  case $2 in
    # The orchestration host reaches this host from an address that leads back to it.
    localhost) [ -n "${SSH_CONNECTION-}" ] && candidates=("${SSH_CONNECTION%% *}") || candidates=(127.0.0.1) ;;
    *) mapfile -t candidates < <(getent ahosts "$2" | cut -d' ' -f1 | uniq) ;;
  esac
  shift 2
  for address in "${candidates[@]}" "$@"; do
    route=$(ip -o route get "$address" 2>/dev/null) && [[ $route == *' src '* ]] || continue
    route=${route##* src }
    emit route index="$index" address="$address" source="${route%% *}"
    return
  done
}

owner_facts() { # USER[:GROUP]: whether this host knows both
  local user=${1%%:*} group=${1#*:} unknown=''
  # As chown does, names before numbers.
  getent passwd "$user" >/dev/null || [[ $user != *[!0-9]* ]] || unknown=$user
  [[ $1 != *:* ]] || getent group "$group" >/dev/null || [[ $group != *[!0-9]* ]] || unknown=$group
  emit owner unknown="$unknown"
}

target_facts() { # INDEX DIRECTORY FINAL-NAME
  local path=$2 state=directory real='' ancestors above paths=() inodes final content name leftovers=() missing=''
  [[ $path == /* ]] || path=./$path
  # Of a directory that is missing, what counts is the first above it that is there: it may be going to be made.
  until [ -d "$path" ]; do
    if [ -e "$path" ] || [ -L "$path" ]; then
      emit target index="$1" state=other
      return
    fi
    state=missing missing=${path##*/}/$missing path=${path%/*}
    path=${path:-/}
  done
  IFS= read -r -d '' real < <(realpath -ez -- "$path")
  above=$real
  while :; do
    paths+=("$above/")
    [ -n "$above" ] && [ "$above" != / ] || break
    above=${above%/*}
  done
  mapfile -t ancestors < <(stat -c %d:%i -- "${paths[@]}")
  [ -z "$missing" ] || ancestors=("${ancestors[0]%%:*}:$(encode "$missing").${ancestors[0]#*:}" "${ancestors[@]}")
  join_words "${ancestors[@]}"
  above=$REPLY
  [ "$state" = missing ] || [ -w "$path" ] || state=read-only
  if [ "$state" = missing ]; then
    emit target index="$1" state=missing path="$(encode "$real")" ancestors="$above" final='' content='' leftovers='' \
      free="$(free_bytes "$path")" inodes="$(stat -f -c %c:%d -- "$path")"
    return
  fi
  final=$(stat -c %d:%i -- "$path/$3" 2>/dev/null)
  for name in "$path"/.transferpy-*; do
    name=${name##*/}
    # A session makes its run directory first: without one, nobody will undo this.
    [[ ! $name =~ ^\.transferpy-([0-9a-f]{16})-[0-9]+$ ]] ||
      compgen -G "$run_root/run.target.${BASH_REMATCH[1]}.*" >/dev/null || leftovers+=("$name")
  done
  join_words "${leftovers[@]}"
  content=$(find "$path/" -mindepth 1 -maxdepth 1 ! -name lost+found -printf x -quit)
  inodes=$(stat -f -c %c:%d -- "$path")
  emit target index="$1" state="$state" path="$(encode "$real")" ancestors="$above" final="$final" content="$content" \
    leftovers="$REPLY" free="$(free_bytes "$path")" inodes="$inodes"
}

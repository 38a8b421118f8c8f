# Facts on the source.
# requires: lib/events

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

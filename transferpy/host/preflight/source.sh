# Facts about the source.
# requires: lib/events preflight/mounts perl/totals perl/follow_no_links

source_facts() { # PATH [-xdev]: its kind, and the number and size of its files; with -xdev, those on its own file system
  local path=$1 directory kind='' identity='' counted='' error='' server=no unproven='' links_error=''
  local totals=(disk=0 inodes=0 files=0 directories=0 bytes=0 largest=0 sockets=0)
  [[ $path == /* ]] || path=./$path
  while [[ $path == *?/ ]]; do path=${path%/}; done
  # With a slash at its end, the name of a symbolic link means its target. Without it, the link itself is copied.
  if [[ $1 == */ ]] && [ -L "$path" ]; then
    IFS= read -r -d '' path < <(realpath -ez -- "$path" 2>/dev/null)
  fi
  directory=${path%/*}
  read -r kind identity < <(find "$path" -maxdepth 0 -printf '%y %D:%i\n' 2>/dev/null)
  # A pseudo file system has no end.
  [ -z "$kind" ] || [ "$path" = / ] || has_endless_mount "$path" "${@:2}" || {
    read -ra counted && totals=("${counted[@]}") # without perl there is no line; the plan reports that perl is missing
    IFS= read -r error
  } < <(count_tree "$path" "${@:2}")
  # After the count, which mounts the file systems that are mounted on access.
  [[ $kind != [df] ]] || { list_unproven "$path" && unproven=$REPLY; }
  [ "$kind" != d ] || links_error=$(follows_no_links "${directory:-/}" 2>&1)
  [ "$path" = / ] || mount_facts "$path"
  ! holds_running_server "$path" || server=yes
  emit source directory="$(encode "${directory:-/}")" name="$(encode "${path##*/}")" kind="$kind" identity="$identity" \
    error="$(encode "$error")" server="$server" unproven="$(encode "$unproven")" links_error="$(encode "$links_error")" "${totals[@]}"
}

follows_no_links() { # DIRECTORY: succeeds if a program in it can run without following symbolic links; else prints the error
  (cd -P -- "$1" && exec perl -e "$perl_follow_no_links" -- true)
}

list_unproven() { # PATH: sets REPLY to the types of the file systems in it that are not known to report holes correctly
  local real='' point places=("$1") type name
  REPLY=''
  IFS= read -r -d '' real < <(realpath -ez -- "$1" 2>/dev/null)
  while read -r _ _ _ _ point _; do
    # shellcheck disable=SC2059 # blanks and backslashes are octal numbers in this list
    printf -v point -- "${point//%/%%}"
    [[ $point != "${real%/}"/* ]] || places+=("$point")
  done </proc/self/mountinfo
  while read -r type name; do
    # ext2 to ext4, XFS, btrfs, tmpfs, as in perl/file_systems.
    [[ $type == @(ef53|58465342|9123683e|1021994) || " $REPLY " == *" $name "* ]] || REPLY+=${REPLY:+ }$name
  done < <(stat -f -c '%t %T' -- "${places[@]}" 2>/dev/null || echo '0 unknown')
}

has_endless_mount() { # PATH [-xdev]: succeeds if a count would meet a pseudo file system, or a directory inside of itself
  local emitted
  emitted=$(emit() { printf '%s\n' "$*"; } && mount_facts "$1")
  [[ $emitted == *kind=source* || -z ${2-} && $emitted == *kind=@(pseudo|loop)* ]]
}

count_tree() { # PATH [-xdev]: prints totals, and on the next line the last error
  find "$1" "${@:2}" -printf '%y %D:%i %n %b %s\0' 2>&1 | perl -e "$perl_totals"
}

holds_running_server() { # DIRECTORY: succeeds if it has the data of a database server that runs, which locks these files
  local file inode
  for file in ibdata1 aria_log_control; do
    inode=$(stat -c %i -- "$1/$file" 2>/dev/null) || continue
    ! is_locked "$inode" || return 0
  done
  return 1
}

is_locked() { # INODE: succeeds if a process has a lock to write on a file with that number
  grep -Eqs "WRITE +[0-9]+ [^ ]+:$1 " /proc/locks
}

magic_facts() { # PATH: the first bytes of the file, as many as a tar header has
  [ -f "$1" ] || set -- /dev/null # a pipe or a terminal may never have data
  emit magic first="$(head -c 512 -- "$1" 2>/dev/null | base64 -w0)"
}

# Removes old copies of a job: of the directories that the job has made, the newest existing ones are kept.
# requires: lib/events lib/directories lib/filesystems preflight/source

holds_more() { # DIRECTORY NAME: succeed if DIRECTORY has another entry than NAME; without a NAME, any entry is allowed
  (
    shopt -s nullglob dotglob
    for entry in "$1"/*; do
      [[ -z $2 || ${entry##*/} == "$2" ]] || exit 0
    done
    exit 1
  )
}

made() { # DIRECTORY INODE BORN: succeed if the job made DIRECTORY; file systems soon reuse an inode number
  [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %i -- "$1")" = "$2" ] &&
    { [ "$3" = 0 ] || [ "$(stat -c %W -- "$1")" = "$3" ]; }
}

is_in_use() { # DIRECTORY: succeeds if a process works in it, has a file of it open, or a database server has locked its files
  # It also succeeds if the searches cannot run. The status of each is its last record.
  local path link inode links=() inodes=()
  IFS= read -r -d '' path < <(realpath -ez -- "$1") || return 0
  # A link of /proc is read without access to the file, whose file system may hang.
  mapfile -d '' -t links < <(
    find /proc -mindepth 2 -maxdepth 3 '(' -path '/proc/[0-9]*/fd/*' -o -path '/proc/[0-9]*/cwd' ')' -lname '/*' \
      -printf '%l\0' 2>/dev/null
    printf '%s\0' "$?"
  )
  # The status is 1 if a process has ended in the meantime.
  [[ ${links[*]: -1} == [01] ]] || return 0
  for link in "${links[@]}"; do
    [[ $link != "$path" && $link != "$path"/* ]] || return 0
  done
  # The paths of a server in a container are others.
  mapfile -t inodes < <(
    find "$1" -xdev '(' -name ibdata1 -o -name aria_log_control ')' -printf '%i\n'
    echo "status $?"
  )
  [ "${inodes[*]: -1}" = 'status 0' ] || return 0
  for inode in "${inodes[@]}"; do
    ! is_locked "$inode" || return 0
  done
  return 1
}

has_changed() { # DIRECTORY PUBLISHED: succeeds if an entry has changed more than a second after the copy was published
  [ "$2" != 0 ] && ! finds_nothing "$1" -xdev -mindepth 1 -newerct "@$(($2 + 1))"
}

is_elsewhere() { # DIRECTORY FILESYSTEM: succeeds unless the file system of the copy is mounted where it was, or is not recorded
  read_filesystem "$1"
  [ -n "$2" ] && [ "$REPLY" != "$2" ]
}

remove_renamed() { # REMOVING DIRECTORY INODE BORN: removes a directory that was renamed from DIRECTORY; sets result
  result=failed
  if is_in_use "$1"; then
    # A process has opened it before the rename.
    perl -e "$perl_directories" rename_new "$1" "$2" 2>/dev/null && result=in-use
  elif (cd -P -- "$1" && made . "$3" "$4" && remove_working_directory); then
    result=removed
  fi
}

prune_copy() { # DIRECTORY INODE BORN NAME PUBLISHED FILESYSTEM: removes a copy unless something speaks against it; sets result
  # The directory is renamed first, so that no directory with a part of a copy looks complete.
  local removing=${1%/*}/.transferpy-removing-${1##*/}
  if made "$1" "$2" "$3"; then
    if ((kept < keep)); then
      kept=$((kept + 1)) result=kept
    elif holds_more "$1" "$4"; then
      result=shared
    elif is_in_use "$1"; then
      result=in-use
    elif has_changed "$1" "$5"; then
      result=changed
    else
      result=failed
      perl -e "$perl_directories" rename_new "$1" "$removing" 2>/dev/null
    fi
  elif is_elsewhere "$1" "$6"; then
    result=not-mounted
  elif [ -d "$1" ] && [ ! -L "$1" ]; then
    result=other
  fi
  # A run that was killed may have left a renamed directory behind.
  ! made "$removing" "$2" "$3" || remove_renamed "$removing" "$1" "$2" "$3"
}

prune() { # KEEP [DIRECTORY INODE BORN NAME PUBLISHED FILESYSTEM] ...: remove all but the first KEEP directories, and emit each result
  local keep=$1 kept=0 result
  shift
  while (($#)); do
    result=gone
    prune_copy "${@:1:6}"
    emit pruned result="$result"
    shift 6
  done
}

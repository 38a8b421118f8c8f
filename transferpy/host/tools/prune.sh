# Removes old copies of a job: of the directories that the job has made, the newest existing ones are kept.
# requires: lib/events

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

prune() { # KEEP [DIRECTORY INODE BORN NAME] ...: remove all but the first KEEP directories, and emit a result for each
  local keep=$1 removing kept=0 result
  shift
  while (($#)); do
    # The directory is renamed first, so that no directory with a part of a copy looks complete.
    removing=${1%/*}/.transferpy-removing-${1##*/}
    result=gone
    if made "$1" "$2" "$3"; then
      if ((kept++ < keep)); then
        result=kept
      elif holds_more "$1" "$4"; then
        result=shared
      else
        result=failed
        # mv -n of coreutils before 9.2 succeeds also if it did not rename.
        mv -nT -- "$1" "$removing" && [ ! -e "$1" ] && result=renamed
      fi
    elif [ -d "$1" ] && [ ! -L "$1" ]; then
      result=other
    fi
    # A run that was killed may have left a renamed directory behind.
    if made "$removing" "$2" "$3"; then
      result=failed
      ! rm -rf --one-file-system -- "$removing" || result=removed
    fi
    emit pruned result="$result"
    shift 4
  done
}

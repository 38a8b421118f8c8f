# Removes the old copies of a job: of its directories, the newest first, all but the first that are there.
# requires: lib/events

holds_more() { # DIRECTORY NAME: whether anything but NAME is in it; an empty NAME stands for all there is
  (
    shopt -s nullglob dotglob
    for entry in "$1"/*; do
      [[ -z $2 || ${entry##*/} == "$2" ]] || exit 0
    done
    exit 1
  )
}

made() { # DIRECTORY INODE BORN: whether it is the one that was made; its number alone is soon that of another
  [ -d "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %i -- "$1")" = "$2" ] &&
    { [ "$3" = 0 ] || [ "$(stat -c %W -- "$1")" = "$3" ]; }
}

prune() { # KEEP [DIRECTORY INODE BORN NAME] ...: an event for each, in that order
  local keep=$1 doomed kept=0 what
  shift
  while (($#)); do
    # By another name while it goes, so that no half of it looks whole.
    doomed=${1%/*}/.transferpy-removing-${1##*/}
    what=gone
    if made "$1" "$2" "$3"; then
      if ((kept++ < keep)); then
        what=kept
      elif holds_more "$1" "$4"; then
        what=shared
      else
        what=failed
        # mv -n of coreutils before 9.2 says nothing when it did not move.
        mv -nT -- "$1" "$doomed" && [ ! -e "$1" ] && what=doomed
      fi
    elif [ -d "$1" ] && [ ! -L "$1" ]; then
      what=other
    fi
    if made "$doomed" "$2" "$3"; then
      rm -rf --one-file-system -- "$doomed" && what=removed || what=failed
    fi
    emit pruned what="$what"
    shift 4
  done
}

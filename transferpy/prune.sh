# shellcheck shell=bash disable=SC2154
# (SC2154: keep and run_id come from the lines before this text.)
# Removes the old copies of a job: of its directories, the newest first, all but the first that are there.

prune() { # [DIRECTORY INODE] ...: an event for each, in that order
  local doomed kept=0 what
  while (($#)); do
    # By another name while it goes, so that no half of it looks whole.
    doomed=${1%/*}/.transferpy-removing-${1##*/}
    what=gone
    if [ -d "$1" ] && [ ! -L "$1" ]; then
      what=other
      if [ "$(stat -c %i -- "$1")" = "$2" ]; then
        if ((kept++ < keep)); then
          what=kept
        else
          what=failed
          # mv -n of coreutils before 9.2 says nothing when it did not move.
          mv -nT -- "$1" "$doomed" && [ ! -e "$1" ] && what=doomed
        fi
      fi
    fi
    if [ -d "$doomed" ] && [ ! -L "$doomed" ] && [ "$(stat -c %i -- "$doomed")" = "$2" ]; then
      rm -rf --one-file-system -- "$doomed" && what=removed || what=failed
    fi
    printf '@transferpy %s pruned what=%s\n' "$run_id" "$what"
    shift 2
  done
}

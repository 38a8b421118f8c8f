# The commands of undo entries that remove directories.
# requires: lib/undo

remove_directory() { # PATH: removes a staging directory that this run made
  [ -L "$1" ] || [ ! -d "$1" ] || rm -rf --one-file-system -- "$1"
}

remove_empty_directory() { # PATH: removes a directory that this run made, unless it has content
  rmdir -- "$1" 2>/dev/null || return 0
}

unpublish() { # DIRECTORY: removes from it the entries that a session published before it failed
  local record name directory=${entry%/*}
  # A session that is alive has failed when it gets here. Its recovery must not take the copy for complete.
  rm -f -- "$directory/complete" || return 1
  while IFS= read -r -d '' record; do
    name=${record#* }
    # Another process may have made an entry of this name.
    [ "$(stat -c %d:%i -- "$1/$name" 2>/dev/null)" = "${record%% *}" ] || continue
    rm -rf --one-file-system -- "${1:?}/$name" || return 1
  done <"$directory/published"
}

take_back() { # DIRECTORY: what unpublish was called in the undo entries of version 1.0
  unpublish "$1" || return 1
}

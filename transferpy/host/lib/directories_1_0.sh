# The undo entries of version 1.0 for directories. They have no identity of what they made.
# requires: lib/directories

remove_directory() { # PATH: removes a staging directory
  cd -P -- "$1" 2>/dev/null || return 0
  # Only root can enter a staging directory. With such a name, another user may have made another one.
  [[ $PWD == */.transferpy-* && -O . && $(stat -c %a .) == *700 ]] || return 0
  remove_working_directory || return 1
}

remove_empty_directory() { # PATH: removes a directory that the run made, unless it has content
  rmdir -- "$1" 2>/dev/null || return 0
}

take_back() { # DIRECTORY: renames the entries that the session had published
  local record records published=${entry%/*}/published born listed status=0
  cd -P -- "$1" 2>/dev/null || return 0
  mapfile -d '' -t records <"$published"
  listed=$(stat -c %.9Y -- "$published") || return 1
  for record in "${records[@]}"; do
    [ "$(stat -c %d:%i -- "./${record#* }" 2>/dev/null)" = "${record%% *}" ] || continue
    born=$(stat -c %.9W -- "./${record#* }")
    # An entry that was made after the list is not of that run: the file system has given it an inode number again.
    if [ "$born" = 0.000000000 ]; then
      echo "$1/${record#* } may be a part of an incomplete copy" >&2
      status=1
    elif ((${born/./} <= ${listed/./})); then
      printf '%s\0' "$record"
    fi
  done >"${entry%/*}/own"
  mv -- "${entry%/*}/own" "$published" && set_aside . || return 1
  return "$status"
}

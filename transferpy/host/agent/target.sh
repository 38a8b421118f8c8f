# The target directory of a session, and the staging directory in it.
# requires: lib/undo lib/directories agent/tasks

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

claim_target() { # keeps other runs from the target directory, which has to be empty
  flock -n "$target" || fail host "another transfer is at work on $target_directory"
  target_is_empty || fail host "$target_directory is not empty"
}

target_is_empty() {
  [ -z "$(find "/proc/self/fd/$target/" -mindepth 1 -maxdepth 1 ! -name lost+found ! -name "$staging_name" -printf x -quit)" ]
}

# The source of a session.
# requires: agent/tasks agent/manifest

enter() { # DIRECTORY: makes it the working directory; PWD is then its path without symbolic links
  [[ $1 == /* ]] || set -- "./$1" # to cd, a dash means something else
  cd -P -- "$1" 2>/dev/null || fail host "cannot enter the directory $1"
}

source_stood_still() { # NAME: whether what was sent is what was there before
  local before=$run_directory/manifest stamps=$run_directory/stamps after=$run_directory/again
  run_job stamps list_tree "$source_name" "$after" "$stamps.again" || return
  if ! cmp -s "$stamps" "$stamps.again" || ! cmp -s "$before" "$after"; then
    emit changed job="$1" paths="$({
      comm -z -3 -- "$before" "$after"
      comm -z -3 -- "$stamps" "$stamps.again"
    } | sed -z 's,^[^/]*\./,,' | sort -zu | head -zn 5 | base64 -w0)"
    return 1
  fi
}

# The owner of the copy.
# requires: lib/runs lib/lists agent/inputs perl/privileges

set_owner() { # PATH: sets the owner of all entries, and restores the privileges that the kernel removes with that
  local privileges=$lists/privileges
  list_privileges "$1" >"$privileges" && chown -hR -- "$owner" "$1" &&
    perl -e "$perl_privileges" restore <"$privileges" || return
  list_privileges "$1" | cmp -s -- - "$privileges" || {
    echo "the file system does not keep set-uid bits, set-gid bits or capabilities" >&2
    return 1
  }
  has_owner "$1"
}

list_privileges() { # PATH
  find "$1" ! -type d ! -type l -print0 | perl -e "$perl_privileges" list
}

has_owner() { # PATH: fails if an entry has another owner; a file system may ignore the command
  local probe=$run_directory/owner user group other
  : >"$probe" && chown -- "$owner" "$probe" && read -r user group < <(stat -c '%u %g' -- "$probe") || return
  local expected=(-uid "$user")
  [[ $owner != *:* ]] || expected+=(-gid "$group")
  other=$(find "$1" ! \( "${expected[@]}" \) -print -quit) && [ -z "$other" ] && return
  echo "the file system does not keep the owner: $other" >&2
  return 1
}

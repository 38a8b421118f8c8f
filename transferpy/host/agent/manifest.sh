# Lists of files, and their digests in events.
# requires: lib/events lib/lists agent/inputs perl/manifest

list_tree() { # NAME DIRECTORY [STAMPS [ENTRIES]]: lists all entries below ./NAME but sockets, in files of DIRECTORY, sorted by path
  # Both ends must have the same manifest and attributes. If the copy gets another owner, no owner is compared.
  # Two stamps of one host differ if the tree has changed in between.
  local user=%U group=%G limit=()
  [ "${one_file_system-no}" = no ] || limit=(-xdev)
  [ -z "$owner" ] || user=-
  [[ $owner != *:* ]] || group=-
  find "./$1" "${limit[@]}" ! -type s -printf "%p//%F %D:%i %n %b %C@ %y %m $user $group %s %T@ %l\0" \
    -type l -links +1 -fprintf "$2/links" '%D:%i\n' |
    sort_list -z | perl -e "$perl_manifest" -- "$2/manifest" "${3-$2/stamps}" "$2/attributes" "${4-/dev/null}"
}

count_records() { # FILE
  # For an empty file, grep prints 0 and fails.
  grep -azc '' <"$1" || [ ! -s "$1" ]
}

report_list() { # EVENT FILE [FIELD=VALUE ...]: sends the digest of a list and the number of its records
  local digest
  read -r digest _ < <(sha256sum <"$2") || fail host "cannot read the list ${2##*/}"
  emit "$1" digest="$digest" entries="$(count_records "$2")" "${@:3}"
}

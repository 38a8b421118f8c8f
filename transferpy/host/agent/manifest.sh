# Lists of files, and their digests in events.
# requires: lib/events

list_tree() { # NAME MANIFEST STAMPS: lists all entries below ./NAME, one record each, sorted
  # Both ends must have the same manifest. Two stamps of one host differ if the tree has changed in between.
  local limit=()
  [ "${one_file_system-no}" = no ] || limit=(-xdev)
  local parts=("$2.raw" "$3.raw" "$2.sockets")
  find "./$1" "${limit[@]}" \
    \( -type f -fprintf "${parts[0]}" 'f %m %U %G %s %p\0' -fprintf "${parts[1]}" '%i %s %T@ %C@ %p\0' \) -o \
    \( -type d -fprintf "${parts[0]}" 'd %m %U %G - %p\0' \) -o \
    \( -type l -fprintf "${parts[0]}" 'l - %U %G %s %p -> %l\0' -fprintf "${parts[1]}" '%i %s %T@ %C@ %p\0' \
    \( ! -links +1 -o -fprintf "$2.links" '%D:%i\n' \) \) -o \
    \( -type p -fprintf "${parts[0]}" 'p %m %U %G - %p\0' \) -o \
    \( -type s -fprintf "${parts[2]}" '%p\0' \) -o \
    -exec stat --printf '%f - %u %g %t:%T %n\0' {} + >"$2.devices" &&
    sort -z -- "${parts[0]}" "$2.devices" >"$2" && sort -z -- "${parts[1]}" >"$3" &&
    rm -f -- "${parts[@]:0:2}" "$2.devices"
}

count_records() { # FILE
  # For an empty file, grep prints 0 and fails.
  grep -azc '' <"$1" || [ ! -s "$1" ]
}

report_list() { # EVENT FILE: sends the digest of a list and the number of its records
  local digest
  read -r digest _ < <(sha256sum <"$2") || fail host "cannot read the list ${2##*/}"
  emit "$1" digest="$digest" entries="$(count_records "$2")"
}

# The checks of an unpacked tarball.
# requires: agent/source

source_checks_decompress() { # NAME
  source_stood_still "$1"
}

target_checks_decompress() { # that there is one directory at the top, and nothing that wanted to be elsewhere
  local tops marks behind_mark
  # Two are the end mark; most tarballs have more, to fill their last record.
  look_at_marks <"$run_directory/tarball.marks" && [ "$marks" -ge 2 ] ||
    fail content "the tarball has no mark at its end: it is not whole"
  [ "$behind_mark" = no ] || fail content "the tarball goes on behind its end mark: it is damaged, or several in one"
  ! grep -q '^tar: Removing leading' "$run_directory"/receive.*.err ||
    fail content "the tarball has absolute names or names with .."
  mapfile -d '' -t tops < <(find . -mindepth 1 -maxdepth 1 -print0)
  [ ${#tops[@]} -eq 1 ] && [ -d "${tops[0]}" ] && [ ! -L "${tops[0]}" ] ||
    fail content "the tarball has ${#tops[@]} entries at its top, where one directory is needed"
  enter "${tops[0]}"
}

look_at_marks() { # reads where tar found blocks of zeros; sets marks to their number, behind_mark to whether data follows
  local number what last='' ended=no
  marks=0 behind_mark=no
  while read -r _ number what; do
    number=${number%:}
    [ -z "$last" ] || ((number == last + 1)) || behind_mark=yes
    case $what in
      *NULs*) last=$number marks=$((marks + 1)) ;;
      *) ended=yes ;;
    esac
  done
  [ "$ended" = yes ]
}

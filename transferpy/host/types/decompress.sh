# The transfer type "decompress": a tarball that is unpacked on the target. Its content has no manifest.
# requires: agent/read

list_source_decompress() {
  list_tree_of_source
}

await_source_decompress() {
  await_manifest
}

check_source_decompress() { # TASK
  source_is_unchanged "$1"
}

check_copy_decompress() { # the tarball must be complete and have one directory at its top; makes that the working directory
  local tops zero_blocks data_follows
  # The end mark has two blocks of zeros. Most tarballs have more, to fill their last record.
  { read_zero_blocks <"$run_directory/tarball.marks" && [ "$zero_blocks" -ge 2 ]; } ||
    fail content "the tarball has no end mark: it is incomplete"
  # bzip2 ignores garbage behind its data, with status 0.
  ! grep -q 'trailing garbage after EOF' "$run_directory"/receive.*.err || data_follows=yes
  [ "$data_follows" = no ] || fail content "the tarball has data after its end mark: it is damaged, or contains several tarballs"
  ! grep -q '^tar: Removing leading' "$run_directory"/receive.*.err ||
    fail content "the tarball has absolute names or names with .."
  mapfile -d '' -t tops < <(find . -mindepth 1 -maxdepth 1 -print0)
  { [ ${#tops[@]} -eq 1 ] && [ -d "${tops[0]}" ] && [ ! -L "${tops[0]}" ]; } ||
    fail content "the tarball has ${#tops[@]} top-level entries; exactly one directory is required"
  enter_directory "${tops[0]}"
}

read_zero_blocks() { # sets zero_blocks to the number of blocks of zeros that tar reports, and data_follows (yes or no)
  local number text last='' is_complete=no
  zero_blocks=0 data_follows=no
  while read -r _ number text; do
    number=${number%:}
    [ -z "$last" ] || ((number == last + 1)) || data_follows=yes
    case $text in
      *NULs*) last=$number zero_blocks=$((zero_blocks + 1)) ;;
      *) is_complete=yes ;;
    esac
  done
  [ "$is_complete" = yes ]
}

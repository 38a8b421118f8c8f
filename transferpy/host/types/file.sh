# The checks of a copy of a file or a tree.
# requires: agent/source agent/manifest agent/digests

source_checks_file() { # NAME
  source_stood_still "$1" || return
  report_list manifest "$run_directory/manifest"
  [ "$checksum" = no ] || { await_digest "$1" && report_digests; }
}

target_checks_file() {
  run_job manifest list_tree "$source_name" "$run_directory/manifest" "$run_directory/stamps" || exit 1
  report_list manifest "$run_directory/manifest"
  [ "$checksum" = no ] || report_digests || exit 1
}

# The ability "verify": the session checks the copy that it has unpacked. Each transfer type defines check_copy_TYPE.
# requires: agent/main agent/streams

prepare_verify() {
  after_receive+=(verify_copy)
}

verify_copy() {
  local totals=()
  "check_copy_$transfer_type"
  if [ "$transfer_type" != file ]; then
    run_task totals count_content || return
    read -ra totals <"$run_directory/totals"
  fi
  emit checked "${totals[@]}"
}

count_content() { # writes the number and the total size of the regular files in the working directory to the file "totals"
  find . -type f -printf '%s\n' | awk '{ bytes += $1 } END { printf "files=%d bytes=%.0f", NR, bytes }' >"$run_directory/totals"
}

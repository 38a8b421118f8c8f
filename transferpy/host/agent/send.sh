# The streams that a session sends.
# requires: agent/source agent/digests agent/keys agent/sampling agent/replication types/file types/xtrabackup types/decompress lib/pipes agent/main

source_session() {
  # Variables: source_directory, source_name, own_name; for a backup client, the words of the database's client, and
  # stop_slave; tried, the codecs to try on a sample, and then sample_directory and sampled_bytes. Functions:
  # pipelines that read peer_address and port, send_TARGET_CODEC and probe_TARGET; try_CODEC.
  local certificate='' stream='' replication_seen='' watched=''
  begin
  begin_key "$own_name"
  # The sample is taken while keys are made, of what the manifest names.
  [ ${#tried[@]} -eq 0 ] || followed_by=([manifest]=begin_sample [sample]=report_sample)
  if [ "$transfer_type" = xtrabackup ]; then
    enter "$run_directory"
    [ ${#tried[@]} -eq 0 ] || begin_sample
  else
    enter "$source_directory"
    launch manifest list_tree "$source_name" "$run_directory/manifest" "$run_directory/stamps"
  fi
  await_key
  emit ready certificate="$certificate"
  while :; do
    await_order send probe resume
    case ${order[0]} in
      send) send_to "${order[@]:1}" ;;
      probe) probe_link "${order[@]:1}" ;;
      resume) resume_replication ;;
    esac
  done
}

# shellcheck disable=SC2034 # peer_address is read by the pipeline
probe_link() { # TARGET ADDRESS PORT [CERTIFICATE]: sends nothing of value, for the target to see how fast it comes
  local peer_address=$2 port=$3
  [ "$encrypt" = no ] || accept_peer "$4"
  launch probe "probe_$1"
  await_end probe # never well: the target takes only so much
  emit probed
}

# shellcheck disable=SC2034 # peer_address is read by the pipeline
send_to() { # TARGET CODEC ADDRESS PORT [CERTIFICATE]: one stream to one target
  local name=send_$1 codec=$2 peer_address=$3 port=$4
  [ "$encrypt" = no ] || accept_peer "$5"
  if [ "$transfer_type" = xtrabackup ]; then
    run_job tables list_tables "$source_directory" "$run_directory/tables.before" || return
    [ "$stop_slave" = no ] || [ -n "$replication_seen" ] || stop_replication "${client[@]}"
    replication_seen=yes
  else
    # The list stands before the first byte is read: what changes after that can be seen.
    await_end manifest
    if [ "${ended[manifest]}" != 0 ]; then
      report_end manifest
      return
    fi
  fi
  # They are needed once, but of a stream that went through: those of another one end where it ended.
  [ "${ended[digest]-}" = 0 ] || stop_job digest
  rm -f -- "$run_directory/members" "$run_directory/members.end"
  emit sending
  launch "$name" "${name}_$codec"
  stream=$name watched=${watched_by[$codec]}
  [ "$checksum" = no ] || [ -n "${ended[digest]-}" ] || launch digest digest_files source "${job_pid[$name]}"
  await_end "$name"
  stream=''
  : >"$run_directory/members.end"
  [ ! -e "$run_directory/stream.digest" ] || report_stream_digest "$name"
  report_end "$name" && "source_checks_$transfer_type" "$name" && emit checked
}

# The stream that a session receives.
# requires: agent/target agent/ports firewall/iptables firewall/nftables agent/keys agent/digests agent/publish types/file types/xtrabackup types/decompress lib/pipes agent/main

target_session() {
  # Variables: target_directory, staging_name, source_name, final_name, own_name, wanted_port, owner; prepare, probe
  # and create_target (yes or no).
  # Functions: note_firewall_rules, which has each rule that open_firewall adds removed again; receive_CODEC and probe, pipelines
  # that read port; prepare_copy.
  local certificate='' stream='' target made_target='' totals='' watched=''
  begin
  begin_key "$own_name"
  [ "$create_target" = no ] || make_target "$target_directory"
  enter "$target_directory"
  # The target is held open: whoever may rename things on the way to it cannot make the run write elsewhere.
  exec {target}<.
  [ "$transfer_type" = file ] || claim_target
  reserve_port "$wanted_port"
  # Before the firewall, which is so closed before a large half copy is removed: that takes a while.
  on_undo staging remove_directory "$PWD/$staging_name"
  make_staging || fail host "cannot make a directory in $target_directory"
  note_firewall_rules
  # A job, as begin_key: iptables may have to wait for its lock.
  launch firewall open_firewall
  await_end firewall
  [ "${ended[firewall]}" = 0 ] || fail firewall "cannot open the firewall: $(reason firewall.err)"
  await_key
  emit ready port="$port" certificate="$certificate"
  if [ "$encrypt" = yes ]; then
    await_order peer
    accept_peer "${order[1]}"
  fi
  [ "$probe" = no ] || offer_probe
  await_order receive
  followed_by=()
  stop_job probe || fail port "port $port is in use"
  receive_stream "${order[1]}"
  "target_checks_$transfer_type"
  if [ "$transfer_type" != file ]; then
    run_job totals count_content || exit 1
    totals=$(<"$run_directory/totals")
  fi
  # shellcheck disable=SC2086 # the totals are words
  emit checked $totals
  await_order publish
  [ "$prepare" = no ] || run_job prepare prepare_and_check || exit 1
  case $transfer_type in
    file) give_away "./$source_name" && publish_entry ;;
    *) give_away . && publish_content ;;
  esac
  local made=/proc/self/fd/$target/.
  emit published ${made_target:+inode="$(stat -c %i "$made")" born="$(stat -c %W "$made")"}
  exit 0
}

offer_probe() { # has a stream without value come, if it is wanted: the source takes its sample meanwhile
  followed_by=([probe]=report_link)
  launch probe probe
  await_listening probe # where it ended first, that is told as well
  emit probing port="$port"
}

report_link() { # how much came of it in how long; the job never ends well, as the counter does not read on
  emit link "$(cat -- "$run_directory/link" 2>/dev/null)"
}

receive_stream() { # CODEC
  launch receive "receive_$1"
  stream=receive watched=${watched_by[$1]}
  [ "$checksum" = no ] || launch digest digest_files target
  if await_listening receive; then
    beat # what its first stage has read by now are its own files
    connected=no
    emit listening port="$port"
  fi
  await_end receive
  stream=''
  : >"$run_directory/members.end"
  [ ! -s "$run_directory/receive.read" ] || emit progress bytes="$(<"$run_directory/receive.read")"
  # The hole is closed as soon as nothing needs it: checking may take hours. A signal ends "wait", but not what it waits for.
  undo "$run_directory" firewall &
  wait "$!"
  release_port
  [ ! -e "$run_directory/stream.digest" ] || report_stream_digest receive
  report_end receive || exit 1
  fail_for_lost_attributes
  [ -z "${job_pid[sync]-}" ] || { await_end sync && report_end sync; } || exit 1
}

fail_for_lost_attributes() {
  # tar only warns where the file system cannot hold an attribute of a file. A file system without ACLs has it warn of
  # every file, in other words; an ACL that is really lost is one of the attributes here.
  local lost
  lost=$(grep -ahm 3 "Cannot set '.*' extended attribute" "$run_directory"/receive.*.err) || return 0
  fail attributes "the file system cannot hold all attributes: $lost"
}

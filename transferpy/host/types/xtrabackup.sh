# The transfer type "xtrabackup": a hot backup of a running database server. Both ends compare the list of its tables.
# requires: agent/read agent/manifest agent/replication

list_source_xtrabackup() {
  enter_directory "$run_directory"
  [ ${#benchmarked[@]} -eq 0 ] || start_sample
  [ "$stop_slave" = no ] || during_send+=(watch_backup) at_stream_end+=(resume_replication)
}

await_source_xtrabackup() {
  run_task tables list_tables "$source_directory" "$lists/tables.before" || return
  run_task query write_lsn Innodb_lsn_flushed "$run_directory/lsn.before" || return
  [ "$stop_slave" = no ] || stop_replication "${client[@]}"
}

watch_backup() { # TASK: starts replication again when the backup tool has ended; the stream may take longer to arrive
  backup_task=$1
  on_progress[$1]=resume_after_backup
}

resume_after_backup() {
  log_is_complete "$run_directory/$backup_task.0.err" || return 0
  unset "on_progress[$backup_task]"
  resume_replication
}

check_source_xtrabackup() { # TASK
  local list=$lists/tables
  run_task backup check_backup_log "$run_directory/$1.0.err" || return
  # A table that was created or dropped meanwhile need not be in the backup.
  run_task tables list_tables "$source_directory" "$list.after" || return
  run_task query write_lsn Innodb_lsn_current "$run_directory/lsn.after" || return
  [ ! -s "$run_directory/lsn.after" ] ||
    emit redo-log first="$(<"$run_directory/lsn.before")" last="$(<"$run_directory/lsn.after")"
  comm -z -12 -- "$list.before" "$list.after" >"$list" || fail host "cannot write in $lists: is it full?"
  report_list tables "$list"
}

write_lsn() { # VARIABLE FILE: writes a position in the redo log of the server to a file; nothing if the server reports none
  local answer
  answer=$(query "SHOW GLOBAL STATUS WHERE Variable_name = '$1'" "${client[@]}") && printf %s "${answer##*=}" >"$2"
}

list_tables() { # DIRECTORY LIST [SUFFIX]: lists the tables of a server, or of a copy, by the files that hold their data
  # The directory of a database may be a link. A directory that cannot be read is gone, or the backup tool fails on it.
  find -L "$1" -mindepth 2 -maxdepth 2 -type f -size +0 \
    '(' -name '*.ibd' -o -name '*.MYD' -o -name '*.MAD' -o -name "*.${3-ibd}" ')' \
    ! -name '#sql*' -printf '%P\0' 2>/dev/null | grep -azv '^[.#]' | sort_list -z >"$2"
  [ "${PIPESTATUS[2]}" = 0 ]
}

log_is_complete() { # FILE: succeeds if the log of a backup tool ends with the line of a success
  [[ $(tail -n 3 -- "$1") == *'completed OK!'* ]]
}

check_backup_log() { # FILE
  log_is_complete "$1" || {
    tail -n 20 -- "$1" >&2
    echo "the log of the backup does not end with 'completed OK!'" >&2
    return 1
  }
}

check_copy_xtrabackup() { # reports its positions in the binary logs and in the redo log
  local file info='' position='' replica='' lsn=0
  for file in xtrabackup mariadb_backup; do
    [ ! -s "${file}_info" ] || info=${file}_info
    [ ! -s "${file}_binlog_info" ] || position=$(<"${file}_binlog_info")
    [ ! -s "${file}_checkpoints" ] || read_last_lsn "${file}_checkpoints"
    [ ! -s "${file}_slave_info" ] || replica=$(<"${file}_slave_info")
  done
  [ -n "$info" ] || fail content "the received backup has no info file: it is incomplete"
  emit position binlog="$(encode "$position")" replica="$(encode "$replica")" lsn="$lsn"
  # A table that was created during the backup has another suffix until the copy is prepared.
  run_task tables list_tables . "$lists/tables" new || exit 1
  report_list tables "$lists/tables"
}

read_last_lsn() { # FILE: sets lsn; the source, which is not trusted, has written the file
  local line
  while IFS= read -r line; do
    [[ ! $line =~ ^last_lsn\ =\ ([0-9]{1,20})$ ]] || lsn=${BASH_REMATCH[1]}
  done < <(head -c 1000 -- "$1" | tr -d '\0')
}

prepare_copy_xtrabackup() { # in the task "prepare", whose standard error is the log
  prepare_copy && log_is_complete "$run_directory/prepare.err"
}

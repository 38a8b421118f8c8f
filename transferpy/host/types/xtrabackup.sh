# The transfer type "xtrabackup": a hot backup of a running database server. Both ends compare the list of its tables, and the
# digests of its files: on the source those of the stream, on the target those of the disk.
# requires: agent/read agent/manifest agent/digests agent/replication lib/directories lib/backup_options
# requires: perl/table_files perl/tables perl/settled perl/renames lib/confine
# requires: perl/digest_stream perl/pass_chunks perl/digest_copy

# The first attempt to continue after the last break: the number of its connection, and its first byte.
resume_connection='' resume_position=''
backup_task='' # the task of the backup, until replication was started after it
read_ahead=16777216 # bytes of the redo log that the backup tool can still read while the pipes behind it fill

list_source_xtrabackup() {
  enter_directory "$run_directory"
  [ ${#benchmarked[@]} -eq 0 ] || start_sample
  [ "$stop_slave" = no ] || during_send+=(watch_backup) at_stream_end+=(resume_replication)
  at_once[resume]=resume_hot_copy
  on_task_end[redo_capacity]=report_overwritten_log
  at_stream_end+=(forget_redo_log)
}

await_source_xtrabackup() {
  run_task tables list_source_tables before || return
  run_task redo_log write_lsn Innodb_lsn_flushed "$run_directory/lsn.before" || return # no data has been sent yet
  [ "$stop_slave" = no ] || stop_replication "${client[@]}"
}

watch_backup() { # TASK: starts replication again when the backup tool has ended; the stream may take longer to arrive
  backup_task=$1
  on_progress+=(resume_after_backup)
}

resume_after_backup() {
  { [ -n "$backup_task" ] && log_is_complete "$run_directory/$backup_task.0.err"; } || return 0
  backup_task=''
  begin_start
}

resume_hot_copy() { # resume LANE CONNECTION POSITION: as command_relay
  command_relay "$@"
  # Further attempts after the same break continue at the same byte.
  [ "$4" != "$resume_position" ] || return 0
  forget_redo_log
  resume_connection=$3 resume_position=$4
  start_task redo_capacity await_overwritten_log
}

forget_redo_log() {
  resume_position=''
  stop_task redo_capacity
}

await_overwritten_log() { # without a connection, the backup tool cannot read the redo log, in which the server goes on to write
  # Succeeds when the server has overwritten what the backup tool has not read.
  local file=$run_directory/lsn.broken capacity first last
  # Old servers have several files.
  capacity=$(query "SELECT ROUND(EXP(SUM(LN(VARIABLE_VALUE)))) AS value FROM information_schema.GLOBAL_VARIABLES \
    WHERE VARIABLE_NAME IN ('innodb_log_file_size', 'innodb_log_files_in_group')" "${client[@]}") && capacity=${capacity##*=} &&
    write_lsn Innodb_lsn_current "$file" && first=$(<"$file") && [ "$capacity" -gt 0 ] && [ "$first" -gt 0 ] || return
  for _ in {1..30}; do
    sleep 2
    write_lsn Innodb_lsn_current "$file" && last=$(<"$file") || return
    ((last - first <= capacity + read_ahead)) || return 0
  done
  return 1
}

report_overwritten_log() {
  ! task_succeeded redo_capacity || emit redo-overwritten connection="$resume_connection"
}

check_source_xtrabackup() { # TASK
  local list=$lists/tables per_table=''
  run_task backup check_backup_log "$run_directory/$1.0.err" || return
  run_task tables list_source_tables after || return
  # The server may be busy or start again. The backup is not lost because of this additional check.
  run_task query await_lsn Innodb_lsn_current "$run_directory/lsn.after" || echo 0 >"$run_directory/lsn.after"
  [ ! -s "$run_directory/lsn.before" ] ||
    emit redo-log first="$(<"$run_directory/lsn.before")" last="$(<"$run_directory/lsn.after")"
  {
    # Other tables may have been created, dropped or changed during the backup.
    comm -z -12 -- "$list.before" "$list.after" | sed -z 's://.*::' >"$list.unsorted" && add_settled_tables "$1" &&
      sort_list -zu -o "$list" -- "$list.unsorted" &&
      # The copy may lack the files of tables that the server lacked.
      sort_list -zu -o "$lists/lacking" -- "$lists/lacking.before" "$lists/lacking.after"
  } || fail host "cannot write in $lists: is it full?"
  per_table=$(<"$lists/per_table")
  report_list tables "$list"
  # Without an answer, the check is the stricter one.
  report_list lacking "$lists/lacking" file_per_table="${per_table:-1}"
  [ "$checksum" = no ] || { run_task digest sort_digests && report_list digests "$lists/digests"; }
}

add_settled_tables() { # TASK: adds the tables with definitions from before the moment at which the backup tool blocked DDL
  local moment=0 lost=$lists/lost repeated=$lists/repeated
  read_moment "$run_directory/$1.0.err"
  [ -e "$lost" ] || lost=/dev/null # without checksums
  perl -e "$perl_settled" -- "$moment" "$lost" "$repeated" <"$list.after" >>"$list.unsorted" || return
  [ ! -s "$repeated" ] || fail content "$(printf '%s' "mariadb-backup damaged tables that were created or renamed before it read them:" \
    " $(<"$repeated"); repeat the copy")"
}

read_moment() { # FILE: sets moment to the time in a line of the log; without the line, it stays
  local text
  text=$(sed -n 's/^\[[0-9]*\] \([0-9-]* [0-9:]*\) Acquired locks for BACKUP STAGE BLOCK_DDL.*/\1/p' -- "$1" | tail -n 1)
  [ -n "$text" ] && moment=$(date -d "$text" +%s) || return 0
  # At the end of summer time, an hour repeats.
  [ "$(date -d "@$((moment - 3600))" '+%F %T')" != "$text" ] || moment=$((moment - 3600))
}

sort_digests() { # the pipeline of the source, or the digester of the target, has written the list
  sort_list -z -- "$lists/digests.unsorted" >"$lists/digests"
}

digest_copy_xtrabackup() { # digests the files behind mbstream; adds a record for each file that was not in the stream
  perl -e "$perl_digest_copy" -- "$lists/members" "$lists/digests.unsorted" "$cores" "${digest_tool[@]}" || return
  # The head of a file has a size, the other pieces have a range.
  sed -zn 's,^[^ ]* [^+ ]* \./,,p' -- "$lists/digests.unsorted" | sort_list -z >"$lists/names.sent" &&
    find . -mindepth 1 ! -type d -printf '%P\0' | sort_list -z >"$lists/names" &&
    comm -z -13 -- "$lists/names.sent" "$lists/names" | sed -z 's,^,unknown - ./,' >>"$lists/digests.unsorted" &&
    sort_digests
}

await_lsn() { # VARIABLE FILE: as write_lsn; tries for some minutes
  local try
  for try in {1..20}; do
    ((try == 1)) || sleep 10
    ! write_lsn "$@" 2>/dev/null || return 0
  done
  return 1
}

write_lsn() { # VARIABLE FILE: writes a position in the redo log of the server to a file; nothing if the server reports none
  local answer
  answer=$(query "SHOW GLOBAL STATUS WHERE Variable_name = '$1'" "${client[@]}") && printf %s "${answer##*=}" >"$2"
}

list_source_tables() { # before|after: lists the tables of the server; also writes its setting innodb_file_per_table to a file
  check_databases || return
  list_tables server "$source_directory" "$lists/tables.$1" "$lists/lacking.$1" || return
  query 'SELECT @@innodb_file_per_table AS value' "${client[@]}" 2>/dev/null | sed -n 's/^value=//p' >"$lists/per_table"
  [ "${PIPESTATUS[1]}" = 0 ]
}

check_databases() { # fails if the server reports databases that the data directory, which the backup tool reads, does not have
  local try found lacking=''
  # Databases come and go between the query and the look at the directory.
  for try in {1..10}; do
    ((try == 1)) || sleep 0.2
    found=$(list_databases_elsewhere | sort) || return
    ((try == 1)) || found=$(comm -12 <(echo "$found") <(echo "$lacking"))
    [ -n "$found" ] || return 0
    lacking=$found
  done
  echo "the server has databases that are not in $source_directory: $(head -n 5 <<<"$lacking" | paste -sd ' ')" >&2
  return 1
}

list_databases_elsewhere() { # prints the names of the directories that the databases of the server should have in the data directory
  local name
  # Only MariaDB executes the comment. It has the names of files as a character set, and adds @@@ to words that Windows reserves.
  # With binary-as-hex in an option file, the client prints other types only as they are.
  query "SELECT NULL AS name /*M!100000 WHERE FALSE UNION ALL SELECT IF(LEFT(SCHEMA_NAME, 9) = '#mysql50#', SUBSTR(SCHEMA_NAME, 10), \
    CONVERT(CAST(CONVERT(SCHEMA_NAME USING filename) AS BINARY) USING latin1)) FROM information_schema.SCHEMATA \
    WHERE SCHEMA_NAME NOT IN ('information_schema', 'performance_schema') */" "${client[@]}" |
    sed -n 's/^name=//p' | while IFS= read -r name; do
    [ -d "$source_directory/$name" ] || [ -d "$source_directory/$name@@@" ] || printf '%s\n' "$name"
  done
}

list_tables() { # server|copy DIRECTORY TABLES LACKING: lists the files of all tables, and the files that tables lack
  local statuses=()
  cd -P -- "$2" || return
  # The directory of a database and the file of a table may be links. Of all files, only these can be empty.
  find -L . -mindepth 2 -maxdepth 2 -type f '(' -size +0 -o -name '*.MYD' -o -name '*.MRG' -o -name '*.CSV' -o -name '*.del' ')' \
    -printf '%P//%i %C@\0' 2>/dev/null | perl -e "$perl_table_files" -- "$1" |
    sort_list -z | perl -e "$perl_tables" -- "$1" "$3.unsorted" "$4.unsorted"
  statuses=("${PIPESTATUS[@]}")
  # A directory of a server that cannot be read is gone, or the backup tool fails on it.
  [ "$1" = copy ] || statuses[0]=0
  [[ ${statuses[*]} != *[!0\ ]* ]] && sort_list -zu -o "$3" -- "$3.unsorted" && sort_list -zu -o "$4" -- "$4.unsorted"
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
  # The preflight refuses such tables. In a copy, a server would use the path of the source.
  finds_nothing . -mindepth 2 -maxdepth 2 -name '*.isl' || fail content "the received backup has tables with DATA DIRECTORY"
  check_backup_options
  check_renames
  emit position binlog="$(encode "$position")" replica="$(encode "$replica")" lsn="$lsn"
  run_task tables list_tables copy . "$lists/tables" "$lists/lacking" || exit 1
  report_list tables "$lists/tables"
  report_list lacking "$lists/lacking"
  [ "$checksum" = no ] || { await_digests && report_list digests "$lists/digests"; } || exit 1
}

check_backup_options() { # refuses or reports options with which --prepare, also by hand, would run code of the source
  local refused
  [ -e backup-my.cnf ] || return 0
  refused=$(print_refused_option backup-my.cnf) || fail content "cannot read backup-my.cnf of the received backup"
  [ -n "$refused" ] || return 0
  [ "$prepare" = no ] || fail content "backup-my.cnf of the received backup has an option that no backup tool writes: $refused"
  emit unknown-option text="$(encode "$refused")"
}

check_renames() { # refuses files with which --prepare would write outside of the copy
  local refused
  refused=$(set -o pipefail && find . -mindepth 1 -name '*.ren' -print0 | perl -e "$perl_renames") ||
    fail content "cannot read the new names of tables in the received backup"
  [ -z "$refused" ] || fail content "the received backup renames a table to a name that is none: $refused"
}

read_last_lsn() { # FILE: sets lsn; the source, which is not trusted, has written the file
  local line
  while IFS= read -r line; do
    [[ ! $line =~ ^last_lsn\ =\ ([0-9]{1,20})$ ]] || lsn=${BASH_REMATCH[1]}
  done < <(head -c 1000 -- "$1" | tr -d '\0')
}

prepare_copy_xtrabackup() { # ends the session on a failure
  local confined=yes
  confine true 2>"$run_directory/confine.err" || {
    confined=no
    emit unconfined text="$(encode "$(last_error confine.err)")"
  }
  run_task prepare run_preparation "$confined" || exit 1
}

run_preparation() { # yes|no: whether the tool is confined; in a task, whose standard error is the log
  # The temporary files of the tool are in the copy: it cannot write elsewhere.
  local command=(bash -c "export TMPDIR=.; $(declare -f prepare_copy); prepare_copy")
  [ "$1" = no ] || command=(confine "${command[@]}")
  "${command[@]}" && log_is_complete "$run_directory/prepare.err"
}

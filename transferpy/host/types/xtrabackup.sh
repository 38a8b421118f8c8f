# The checks of a hot backup of a database server.
# requires: lib/events agent/tasks agent/manifest

source_checks_xtrabackup() { # NAME
  local list=$run_directory/tables
  run_job backup check_backup_log "$run_directory/$1.0.err" || return
  # One that came or went meanwhile need not be in the backup.
  run_job tables list_tables "$source_directory" "$list.after" || return
  comm -z -12 -- "$list.before" "$list.after" >"$list" || fail host "cannot write in $run_directory: is it full?"
  report_list tables "$list"
}

list_tables() { # DIRECTORY LIST [SUFFIX]: the tables of a server, or of a copy of one, by the files that hold their data
  # A directory of theirs may be a link. What cannot be looked at went away, or the backup tool fails on it.
  find -L "$1" -mindepth 2 -maxdepth 2 -type f -size +0 \
    '(' -name '*.ibd' -o -name '*.MYD' -o -name '*.MAD' -o -name "*.${3-ibd}" ')' \
    ! -name '#sql*' -printf '%P\0' 2>/dev/null | grep -azv '^[.#]' | sort -z >"$2"
  [ "${PIPESTATUS[2]}" = 0 ]
}

says_completed() { # FILE: whether that log of a backup tool ends as it does only when all went well
  tail -n 3 -- "$1" | grep -q 'completed OK!'
}

check_backup_log() { # FILE
  says_completed "$1" || {
    tail -n 20 -- "$1" >&2
    echo "the log of the backup does not end with 'completed OK!'" >&2
    return 1
  }
}

target_checks_xtrabackup() { # that the copy is one, and where in the binary logs it stands
  local file info='' position='' replica='' lost logs=("$run_directory"/receive.*.err)
  # mbstream, the last stage, ends with status 0 also where it could not make a file.
  ! lost=$(grep -aiE -m 3 "can't|cannot|failed|error" -- "${logs[-1]}" 2>/dev/null) ||
    fail content "not all of the backup could be unpacked: $lost"
  for file in xtrabackup mariadb_backup; do
    [ ! -s "${file}_info" ] || info=${file}_info
    [ ! -s "${file}_binlog_info" ] || position=$(<"${file}_binlog_info")
    [ ! -s "${file}_slave_info" ] || replica=$(<"${file}_slave_info")
  done
  [ -n "$info" ] || fail content "the backup that arrived has no info file: it is not whole"
  emit position binlog="$(encode "$position")" replica="$(encode "$replica")"
  # What the tool saw being made has another name until the copy is prepared.
  run_job tables list_tables . "$run_directory/tables" new || exit 1
  report_list tables "$run_directory/tables"
}

prepare_and_check() { # in the job "prepare", whose standard error is the log
  prepare_copy && says_completed "$run_directory/prepare.err"
}

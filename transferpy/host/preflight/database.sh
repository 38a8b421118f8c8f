# Facts about a database server and the backup tools.
# requires: lib/events lib/queries lib/backup_options preflight/values perl/server_files preflight/data_files

database_facts() { # SOCKET OPTION ...: the answer of the server at that socket, and the size of its data
  local socket=$1 answer client error=''
  local version='' datadir='' binary_log='' relay_log='' name='' files='' own='' path='' settings='' totals=()
  shift
  client=("$(type -P mariadb || type -P mysql || echo mariadb)" "$@")
  if [ ! -S "$socket" ]; then
    if [ -e "$socket" ] || [ -L "$socket" ]; then emit database state=other; else emit database state=missing; fi
  elif ! query_server || [ -z "$datadir" ]; then
    # In batch mode, the client prints the statement before the error.
    [[ $answer != *$'\n'ERROR* ]] || answer=ERROR${answer##*$'\n'ERROR}
    emit database state=silent error="$(encode "${answer:-the client printed no result}$error")"
  elif ! find_files_of_server; then
    emit database state=files-unproven error="$(encode "$answer")"
  elif [[ $files != @(same|hidden) ]]; then
    emit database state="files-$files" datadir="$(encode "$datadir")" own="$(encode "$own")" path="$(encode "$path")"
  else
    # A backup has no replication logs, and they may be larger than the data.
    read -ra totals < <(measure_data_files "$datadir" "$settings" "$binary_log" "$relay_log")
    emit database state=server version="$(encode "$version")" datadir="$(encode "$datadir")" name="$(encode "$name")" \
      files="$files" "${totals[@]:0:2}" outside="$(encode "$(name_outside_tables "$datadir")")" \
      device="$(encode "$(name_raw_device "$settings")")" refused_option="$(encode "$(refused_plugins)")"
  fi
}

query_server() { # sets answer, settings and the variables of read_lines
  # The version is that of InnoDB, which is a part of the server: an option of the server sets VERSION() to any text.
  answer=$(query "SELECT COALESCE((SELECT PLUGIN_VERSION FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'InnoDB'), \
    VERSION()) AS version, @@datadir AS datadir, @@log_bin_basename AS binary_log, @@relay_log_basename AS relay_log, \
    CONCAT(VERSION(), ', ', @@version_comment) AS name" "${client[@]}" 2>&1) || {
    [ $? -ne 124 ] || error="; no answer within $answer_seconds seconds"
    return 1
  }
  read_lines <<<"$answer"
  # Without InnoDB, a server has none of these variables.
  settings=$(query "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
    ('innodb_undo_directory', 'innodb_data_home_dir', 'innodb_data_file_path')" "${client[@]}" 2>&1) || {
    answer=$settings
    return 1
  }
}

refused_plugins() { # prints the first line about plugins in backup-my.cnf that a target refuses; nothing if there is none
  local answer
  # mariadb-backup (10.11.19) writes these lines if one of these plugins is active.
  answer=$(query "SELECT GROUP_CONCAT(PLUGIN_NAME, '=', PLUGIN_LIBRARY SEPARATOR ';') AS plugin_load, @@plugin_dir AS plugin_dir \
    FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_LIBRARY IS NOT NULL \
    AND (PLUGIN_TYPE = 'ENCRYPTION' OR PLUGIN_TYPE = 'DAEMON' AND PLUGIN_NAME LIKE 'provider\\_%') \
    HAVING plugin_load IS NOT NULL" "${client[@]}" 2>/dev/null) && [[ $answer == row$'\n'plugin_load=* ]] || return 0
  print_refused_option /dev/stdin <<<"${answer#row}"
}

find_files_of_server() { # sets files, own and path; fails and sets answer to the error if the program fails
  local command=("${client[@]}" --xml --skip-html --unbuffered)
  answer=$(perl -e "$perl_server_files" -- "$answer_seconds" "$socket" "${command[@]}" 2>&1)
  set -- "$?" "${answer:-no output}"
  answer="perl ended with status $1: $2"
  (($1 == 0)) || return
  read_lines <<<"$2"
  [ -n "$files" ]
}

read_lines() { # reads lines NAME=VALUE; sets the variable of each name
  local line
  while IFS= read -r line; do
    case $line in
      version=*) version=${line#*=} ;;
      datadir=*) datadir=${line#*=} ;;
      binary_log=*) binary_log=${line#*=} ;;
      relay_log=*) relay_log=${line#*=} ;;
      name=*) name=${line#*=} ;;
      files=*) files=${line#*=} ;;
      own=*) own=${line#*=} ;;
      path=*) path=${line#*=} ;;
    esac
  done
}

backup_facts() { # TOOL ...: the version of each backup tool that the host has
  local tool
  for tool in "$@"; do
    ! has_tool "$tool" || emit backup tool="$tool" version="$(encode "$("$tool" --version 2>&1)")"
  done
}

# The files of a database server that a backup reads: those in its data directory, and those that its settings name.
# requires: lib/environment perl/totals

measure_data_files() { # DATADIR SETTINGS [LOG ...]: prints the totals of the files, without the logs of replication of these names
  # The settings are rows of SHOW VARIABLES, as "query" prints them. A relative path begins in the data directory.
  local line name='' value undo=. home='' file system_files=() exclude=()
  while IFS= read -r line; do
    value=${line#Value=}
    case $line in
      Variable_name=*) name=${line#*=} ;;
      Value=*)
        case $name in
          innodb_undo_directory) undo=${value:-.} ;;
          innodb_data_home_dir) home=${value:+$value/} ;;
          innodb_data_file_path) IFS=';' read -ra system_files <<<"$value" ;;
        esac
        ;;
    esac
  done <<<"$2"
  for name in "${@:3}"; do
    # The relay logs of a named connection are BASENAME-CONNECTION.000001. No file of a table has a number at its end.
    [ -z "$name" ] || exclude+=(! -name "${name##*/}.[0-9]*" ! -name "${name##*/}-*.[0-9][0-9][0-9][0-9][0-9][0-9]*")
  done
  cd -P -- "$1" || return
  {
    # Databases and tables may be links.
    find -L . -maxdepth 2 "${exclude[@]}" -printf '%y %D:%i %n %b %s\0'
    [ "$undo" -ef . ] || find -L "$undo" -mindepth 1 -maxdepth 1 -name 'undo*' -printf '%y %D:%i %n %b %s\0'
    for file in "${system_files[@]%%:*}"; do
      [[ $file == /* ]] || file=$home$file
      [ "$file" -ef "${file##*/}" ] || find -L "$file" -maxdepth 0 -printf '%y %D:%i %n %b %s\0'
    done
  } 2>&1 | perl -e "$perl_totals" | head -n 1
}

name_raw_device() { # SETTINGS: prints the first file of the system tablespace that is a device; nothing if there is none
  sed -n 's/^Value=//p' <<<"$1" | sed 's/;/\n/g' | sed -nE 's/:[0-9]+[KMG]?(new)?raw$//I; T; p; q'
}

name_outside_tables() { # DATADIR: prints the names of the first tables whose data is outside, and that no backup can copy
  # For a table with DATA DIRECTORY, InnoDB has a file with the path. The other engines have links: mariadb-backup (10.11.19) copies the
  # files that they name, but leaves out those of Aria.
  find -L "$1" -mindepth 2 -maxdepth 2 '(' -name '*.isl' -o -xtype l -name '*.MA[DI]' ')' ! -name '#sql*' -printf '%P\n' \
    2>/dev/null | sed 's/\(#[Pp]#.*\)\?\.[A-Za-z]*$//' | sort -u |
    awk 'NR <= 5 { text = text (NR > 1 ? ", " : "") $0 } END { print text (NR > 5 ? " and " NR - 5 " more" : "") }'
}

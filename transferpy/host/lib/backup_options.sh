# The options of a hot copy that --prepare obeys.
# requires: perl/backup_options

print_refused_option() { # FILE: prints the first line of an option file that no backup tool writes; nothing if there is none
  local tool
  tool=$(type -P mariadb-backup || type -P mariabackup || type -P xtrabackup || echo /usr/bin/mariadb-backup)
  perl -e "$perl_backup_options" -- "$1" "$tool"
}

# Lists of files. There may be millions of records, so no program keeps a list in memory.
# requires: lib/environment

readonly lists_root=/var/tmp
lists='' # the directory of the lists of this session

find_lists() { # RUN-DIRECTORY: sets REPLY to the directory of the lists of a session
  REPLY=$lists_root/transferpy.${1##*/}
}

sort_list() { # [ARGUMENT ...]: sorts, with little memory; if it is killed, its temporary files stay with the lists
  sort -S 64M -T "$lists" "$@"
}

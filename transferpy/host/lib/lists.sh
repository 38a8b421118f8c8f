# Lists of files. There may be millions of records, so no program keeps a list in memory.
# requires: lib/environment

lists='' # the directory of the lists of this session

sort_list() { # [ARGUMENT ...]: sorts, with little memory; if it is killed, its temporary files stay with the lists
  sort -S 64M -T "$lists" "$@"
}

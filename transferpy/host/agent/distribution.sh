# The distribution of the entries of a tree over the lanes of a stream.
# requires: agent/tasks agent/lanes perl/distribute perl/names perl/follow_no_links perl/send_parents

at_once[directories]=send_directories

distribute_entries() { # writes the list of the paths of each lane
  ((${#lanes[@]} > 1)) || return 0
  rm -f -- "$lists"/lane*
  run_task distribution perl -e "$perl_distribute" -- "$lists/entries" "$lists/lane" "${#lanes[@]}"
}

send_directories() { # the session command "directories": the other lanes are unpacked
  : >"$lists/lane.unpacked"
}

# The digests of files, which are made while they are read or written, and the digests of streams.
# requires: agent/tasks agent/lanes agent/manifest perl/digest

start_digests() { # FUNCTION [ARGUMENT ...]: starts a function that digests files
  # Digests of a stream that failed end where that stream ended. Complete ones serve all further streams.
  [ "$checksum" = yes ] && [ "${task_statuses[digest]-}" != 0 ] || return 0
  start_task digest "$@"
}

digested_lanes=1 # the number of lanes of the stream whose files were digested

discard_digests() { # before a stream: keeps complete digests for the same lanes only, and removes the index of the stream
  [ "${task_statuses[digest]-}-$digested_lanes" = "0-${#lanes[@]}" ] || stop_task digest
  digested_lanes=${#lanes[@]}
  rm -f -- "$lists"/members*
}

end_index() { # after a stream: nothing is added to its index any more
  local lane
  for lane in "${lanes[@]}"; do : >"$lists/members$lane.end"; done
}

digest_files() { # MODE [TASK]: digests the files that the tar of each lane has "read" or "written"; it is a process of TASK
  local list=$lists/digests lane process started=() raw=() count total=0
  for lane in "${lanes[@]}"; do
    process=${2+${task_pid[$2$lane]}}
    raw+=("$list$lane.raw")
    # The index of a lane alone decides how its files are bundled, so both ends have the same digests.
    perl -e "$perl_digest" -- "$lists/members$lane" "$list$lane" "$(((cores + ${#lanes[@]} - 1) / ${#lanes[@]}))" "$1" \
      "/proc/${process:-self}/task/${process:-self}/children" "${digest_tool[@]}" &
    started+=("$!")
  done
  for process in "${started[@]}"; do wait "$process" || return; done # "wait -n" forgets processes that have ended before
  for lane in "${lanes[@]}"; do
    count=$(<"$list$lane.count")
    total=$((total + count))
    [ -z "$lane" ] || cat -- "$list$lane.marks" >>"$list.marks" || return
  done
  echo "$total" >"$list.count" && sort_list -z -- "${raw[@]}" >"$list" && rm -f -- "${raw[@]}"
}

await_digests() { # fails if the task failed
  wait_for_task digest
  task_succeeded digest || report_task digest
}

report_digests() { # waits for the digests of all files, and reports their list; fails if the task failed
  local more_names
  await_digests || return
  # Nothing compares files that no list names. For a further name of a symbolic link, tar prints the same as for a file.
  more_names=$(($(wc -l <"$lists/links") - $(sort_list -u "$lists/links" | wc -l)))
  [ $(($(grep -azcE '^(/?[^/])*//f ' <"$lists/manifest") + more_names)) = "$(<"$lists/digests.count")" ] ||
    fail content 'not all files were digested: tar named other files than the manifest'
  report_list digests "$lists/digests"
}

report_stream_digest() { # TASK NAME: reports the digest of a stream, if the stream was digested; that of those of its lanes
  local digests
  [ -e "$run_directory/$2.digest" ] || return 0
  digests=$(each_lane print_stream_digest "$2")
  ((${#lanes[@]} == 1)) || digests=$(sha256sum <<<"$digests")
  emit stream-digest job="$1" digest="${digests%% *}"
}

print_stream_digest() { # NAME
  cut -d' ' -f1 "$run_directory/$1$lane.digest"
}

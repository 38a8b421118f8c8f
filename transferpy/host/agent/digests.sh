# The digests of files, which are made while they are read or written, and the digests of streams.
# requires: agent/tasks agent/manifest perl/digest

start_digests() { # FUNCTION [ARGUMENT ...]: starts a function that digests files
  # Digests of a stream that failed end where that stream ended. Complete ones serve all further streams.
  [ "$checksum" = yes ] && [ "${task_statuses[digest]-}" != 0 ] || return 0
  start_task digest "$@"
}

discard_digests() { # before a stream: stops the task unless it has succeeded, and removes the index of the stream
  [ "${task_statuses[digest]-}" = 0 ] || stop_task digest
  rm -f -- "$lists/members" "$lists/members.end"
}

end_index() { # after a stream: nothing is added to its index any more
  : >"$lists/members.end"
}

digest_files() { # MODE [PROCESS]: digests the files that tar has "read" or "written"; tar is a descendant of the process
  local list=$lists/digests
  perl -e "$perl_digest" -- "$lists/members" "$list" "$cores" "$1" "/proc/${2-self}/task/${2-self}/children" \
    "${digest_tool[@]}" && sort_list -z -- "$list.raw" >"$list" && rm -f -- "$list.raw"
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

report_stream_digest() { # TASK FILE: reports the digest of a stream, if the stream was digested
  [ ! -e "$run_directory/$2" ] || emit stream-digest job="$1" digest="$(cut -d' ' -f1 "$run_directory/$2")"
}

# The digests of files and of streams.
# requires: agent/tasks agent/manifest agent/source perl/digest

digest_files() { # ROLE [PROCESS]: the digests of what tar reads or writes, right behind it; of whose children it is one
  local list=$run_directory/digests
  perl -e "$perl_digest" -- "$run_directory/members" "$list" "$cores" "$1" "/proc/${2-self}/task/${2-self}/children" \
    "${digest_tool[@]}" && sort -z -- "$list.raw" >"$list" && rm -f -- "$list.raw"
}

report_digests() { # once all files have been named: waits for the last of them, and tells; fails if there are none
  local further
  await_end digest
  if [ "${ended[digest]}" != 0 ]; then
    report_end digest
    return 1
  fi
  # What no list names, nobody compares. Of a further name of a symbolic link tar says what it says of a file's.
  further=$(($(wc -l <"$run_directory/manifest.links") - $(sort -u "$run_directory/manifest.links" | wc -l)))
  [ $(($(grep -azc '^f ' <"$run_directory/manifest") + further)) = "$(<"$run_directory/digests.count")" ] ||
    fail content 'not all files have been digested: tar named others than there are'
  report_list digests "$run_directory/digests"
}

await_digest() { # NAME: waits for the end of that job, as long as the source stands still
  # What reads a file to which somebody adds without end never comes to its end. To look takes long where there are many
  # files, so each time twice as much has passed.
  local began=$EPOCHSECONDS patience=60
  while [ -z "${ended[digest]-}" ]; do
    watch 1
    ((EPOCHSECONDS - began >= patience)) || continue
    source_stood_still "$1" || return
    patience=$((patience * 2))
  done
}

report_stream_digest() { # NAME
  emit stream-digest job="$1" digest="$(cut -d' ' -f1 "$run_directory/stream.digest")"
}

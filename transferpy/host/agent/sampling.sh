# A sample of the data, on which codecs are measured.
# requires: agent/tasks perl/sample perl/benchmark

start_sample() { # if the manifest failed, the first stream reports that
  start_task sample take_sample
}

report_sample() { # reports how small each codec made the sample, and how fast
  local label size microseconds trials=''
  if task_succeeded sample; then
    while read -r label size microseconds; do
      trials+=${trials:+,}$label:$size:$microseconds
    done <"$run_directory/trials"
  fi
  emit sample size="$(stat -c %s -- "$run_directory/sample" 2>/dev/null || echo 0)" trials="$trials"
  rm -f -- "$run_directory/sample"
}

take_sample() { # compresses a sample with each codec; writes the label, the size and the microseconds to the file "trials"
  local list=$lists/manifest label
  if [ -n "$sample_directory" ]; then
    list=$run_directory/sampled
    find "$sample_directory" -type f \( -name '*.ibd' -o -name 'ibdata*' -o -name '*.MYD' -o -name '*.MAD' \) \
      -printf '%s %p\0' >"$list" || return
  fi
  perl -e "$perl_sample" -- "$list" "$sampled_bytes" >"$run_directory/sample" || return
  for label in "${benchmarked[@]}"; do
    local -n benchmark=benchmark_$label
    printf '%s ' "$label"
    perl -e "$perl_benchmark" -- "${benchmark[@]}" <"$run_directory/sample" || return
  done >"$run_directory/trials"
}

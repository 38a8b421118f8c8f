# Values that several events of the preflight have.
# requires: lib/environment

join_words() { # WORD ...: sets REPLY to the words with commas between them
  local IFS=,
  REPLY=$*
}

free_bytes() { # PATH: prints the free bytes of its file system
  stat -f -c '%a %S' -- "$1" | { read -r blocks size && echo $((blocks * size)); }
}

has_tool() { # TOOL: succeeds if the host has the tool
  hash -- "$1" 2>/dev/null
}

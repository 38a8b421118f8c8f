# Functions that several parts of the preflight call.

join_words() { # WORD ...: sets REPLY to them with commas between
  local IFS=,
  REPLY=$*
}

free_bytes() { # PATH: on its file system
  stat -f -c '%a %S' -- "$1" | { read -r blocks size && echo $((blocks * size)); }
}

has() { # TOOL: whether it is there, and can be run
  hash -- "$1" 2>/dev/null
}

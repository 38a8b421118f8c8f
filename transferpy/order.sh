# shellcheck shell=bash disable=SC2154
# Gives a session an order. Set before this text: directory, the run directory of the session; order, one line.

if [ ! -p "$directory/control" ]; then
  echo "no session in $directory"
  exit 1
fi
# Opened for both directions: opening a fifo for writing alone waits for ever where nobody reads.
printf 'order %s\n' "$order" 1<>"$directory/control"

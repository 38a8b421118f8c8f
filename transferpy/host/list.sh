# shellcheck shell=bash disable=SC2154
# Prints a list that a session holds, sorted. Set before this text: directory, the run directory; list, the name of the list.

set -o pipefail
LC_ALL=C sort -z -- "$directory/$list" | gzip -c | base64

# shellcheck shell=bash disable=SC2154
# Prints a list that a session holds. Set before this text: directory, the run directory; list, the name of the list.

set -o pipefail
gzip -c -- "$directory/$list" | base64

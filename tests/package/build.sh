#!/usr/bin/env bash
# Builds the Debian packages from the tracked files of this checkout, with uncommitted changes, and copies them to dist.
# As root, it also installs the build dependencies.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin # the Python of Debian, not the first one in PATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

changed=$(git stash create)
directory=$(mktemp --directory)
trap 'rm -rf -- "$directory"' EXIT
mkdir -p "$directory/transferpy" dist
git archive "${changed:-HEAD}" | tar -xC "$directory/transferpy"
(
  cd -- "$directory/transferpy"
  [ "$EUID" -ne 0 ] || apt-get --quiet --yes --no-install-recommends --no-remove build-dep ./
  dpkg-buildpackage -us -uc -b
)
cp -- "$directory"/transferpy*_* dist
ls dist

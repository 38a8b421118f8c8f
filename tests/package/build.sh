#!/usr/bin/env bash
# Builds the Debian packages of what git has of this checkout, changes included, and puts them into dist.
# As root it installs what the build needs.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin:/sbin:/bin # Debian's Python, not whichever comes first
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

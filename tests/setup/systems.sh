#!/usr/bin/env bash
# Prints the root directory of a minimal system of Debian SUITE with a database server and the tools of a transfer. Hosts of
# the lab have it below their own changes. The first call builds it; all checkouts of this machine share it.
# Called as: systems.sh SUITE [built]. With "built", it fails instead of building.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

suite=$1 mode=${2-}
place=/var/cache/transferpy-tests
packages=(
  mariadb-server mariadb-backup openssh-server
  iproute2 iptables netcat-openbsd nftables openssl socat xxhash zstd # of transferpy-host, and what the lab needs
)
# The name changes with the inputs, because a lab may be using the system of older ones.
inputs=$(cat systems.sh ../package/bootstrap.sh | sha256sum)
root=$place/$suite-${inputs:0:12}

build() { # in namespaces of its own, so that no mount and no process outlives it
  ../package/bootstrap.sh "$suite" "$1"
  echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/unsafe-io"
  mount -t proc proc "$1/proc"
  DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get --quiet --yes install --no-install-recommends -- "${packages[@]}"
  chroot "$1" apt-get clean
  rm -rf -- "$1"/var/lib/apt/lists/*
}

main() {
  local draft output
  [ "$EUID" -eq 0 ] || {
    echo "systems: Debian $suite not built, because this needs root" >&2
    return 0
  }
  mkdir -p -- "$place"
  exec {lock}<"$place"
  flock "$lock"
  if [ ! -d "$root" ]; then
    [ "$mode" != built ] || {
      echo "systems: Debian $suite is not built: call \"make systems\"" >&2
      exit 1
    }
    echo "systems: building Debian $suite, which takes two minutes" >&2
    draft=$place/draft
    rm -rf -- "$draft" # a killed run may have left it
    output=$(unshare --mount --pid --fork --kill-child ./systems.sh "$suite" in "$draft" 2>&1 </dev/null) || {
      rm -rf -- "$draft"
      tail -n 20 <<<"$output" >&2
      echo "systems: could not build Debian $suite (see above); check that \"apt-get update\" works" >&2
      exit 1
    }
    mv -T -- "$draft" "$root"
  fi
  touch -- "$root"
  find "$place" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf -- {} + # made from older inputs
  echo "$root"
}

if [ "$mode" = in ]; then build "$3"; else main; fi

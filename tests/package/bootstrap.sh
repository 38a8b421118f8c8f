#!/usr/bin/env bash
# Makes a minimal Debian SUITE in DIRECTORY, which gets its packages from where this machine does and starts no service.
set -euo pipefail
suite=$1 directory=$2

# A proxy that apt has been told of; debootstrap asks the environment only.
eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
[ -z "${http_proxy:-}" ] || export http_proxy
own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# shellcheck disable=SC2016 # apt-get fills them in
mirror=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
  awk -v own="$own" '$1 == own { print $2; exit }')

debootstrap --variant=minbase "$suite" "$directory" "${mirror:?no archive of $own in the sources of apt}"
# How the archive is reached, not what is taken from it.
apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' >"$directory/etc/apt/apt.conf.d/90machine"
printf '%s\n' '#!/bin/sh' 'exit 101' >"$directory/usr/sbin/policy-rc.d"
chmod 755 "$directory/usr/sbin/policy-rc.d"
chroot "$directory" apt-get update

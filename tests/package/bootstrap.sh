#!/usr/bin/env bash
# Creates a minimal Debian SUITE in DIRECTORY. It uses the package archive of this machine and starts no services.
set -euo pipefail
suite=$1 directory=$2

# debootstrap reads the proxy only from the environment, not from the configuration of apt.
eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
[ -z "${http_proxy:-}" ] || export http_proxy
own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# shellcheck disable=SC2016 # apt-get expands them
mirror=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
  awk -v own="$own" '$1 == own { print $2; exit }')

debootstrap --variant=minbase "$suite" "$directory" "${mirror:?the sources of apt contain no archive of $own}"
# Copies the settings for network access, not the package sources.
apt-config dump | grep '^Acquire::' | grep -v '^Acquire::IndexTargets' >"$directory/etc/apt/apt.conf.d/90machine"
printf '%s\n' '#!/bin/sh' 'exit 101' >"$directory/usr/sbin/policy-rc.d"
chmod 755 "$directory/usr/sbin/policy-rc.d"
chroot "$directory" apt-get update

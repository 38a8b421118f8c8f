#!/usr/bin/env bash
# Installs the packages of packages.txt that are missing, and sees to it that none of them starts a service here.
set -euo pipefail

list=$(dirname -- "${BASH_SOURCE[0]}")/packages.txt
policy=/usr/sbin/policy-rc.d # asked by Debian's packages before they start a service; 101 says no
saved=$policy.before-transferpy
mark='here only while a make of transferpy installs packages'

complain() { # LINE ...
  printf 'packages: %s\n' "$@" >&2
}

find_missing() { # sets the array missing
  local package wanted
  mapfile -t wanted < <(sed 's/ *#.*//; /^$/d' "$list")
  missing=()
  for package in "${wanted[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) == ?i* ]] || missing+=("$package")
  done
}

restore_policy() { # unless it is the machine's own
  [ ! -e "$policy" ] || grep -qF "$mark" "$policy" || return 0
  rm -f -- "$policy"
  [ ! -e "$saved" ] || mv -T -- "$saved" "$policy"
}

forbid_services() { # until this script ends
  restore_policy # a run that was killed may have left ours
  [ ! -e "$policy" ] || mv -T -- "$policy" "$saved"
  printf '%s\n' '#!/bin/sh' "# $mark" 'exit 101' >"$policy"
  chmod 755 "$policy"
}

finish() {
  local status=$?
  trap '' HUP INT TERM
  restore_policy
  exit "$status"
}

quietly() { # COMMAND ...: shows what it wrote only when it fails
  local said
  said=$("$@" 2>&1 </dev/null) || {
    tail -n 20 <<<"$said" >&2
    return 1
  }
}

install_missing() {
  local apt=(apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
  export DEBIAN_FRONTEND=noninteractive
  echo "packages: installing ${missing[*]}"
  # A source that is down need not be one that the packages come from; whether they can be had, the next step tells.
  quietly "${apt[@]}" update || complain 'apt-get update failed (see above); going on with the lists that are there'
  quietly "${apt[@]}" install --no-install-recommends -- "${missing[@]}" || {
    complain "apt-get could not install ${missing[*]} (see above)" \
      'is this Debian 12, is it online, and does "apt-get update" work?'
    exit 1
  }
}

main() {
  command -v dpkg-query >/dev/null || { complain 'this is not Debian; the commands are made for Debian 12'; exit 1; }
  find_missing
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$EUID" -ne 0 ]; then
    complain "not installed, as this is not root: ${missing[*]}"
    return 0
  fi
  exec {machine}</usr/sbin
  flock "$machine" # two of these at once would restore each other's policy
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap finish EXIT
  forbid_services
  install_missing
}

main

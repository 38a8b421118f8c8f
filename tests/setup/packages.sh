#!/usr/bin/env bash
# Installs the missing packages of packages.txt. No package starts a service on this machine during the installation.
set -euo pipefail

list=$(dirname -- "${BASH_SOURCE[0]}")/packages.txt
policy=/usr/sbin/policy-rc.d # Debian packages call it before they start a service; exit status 101 forbids the start
saved=$policy.before-transferpy
mark='here only while a make of transferpy installs packages'

print_error() { # LINE ...
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

restore_policy() { # does nothing if the policy belongs to the machine
  [ ! -e "$policy" ] || grep -qF "$mark" "$policy" || return 0
  rm -f -- "$policy"
  [ ! -e "$saved" ] || mv -T -- "$saved" "$policy"
}

forbid_services() { # until this script ends
  restore_policy # a killed run may have left its own policy
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

quietly() { # COMMAND ...: run a command, and print the end of its output only if it fails
  local output
  output=$("$@" 2>&1 </dev/null) || {
    tail -n 20 <<<"$output" >&2
    return 1
  }
}

install_missing() {
  local apt=(apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
  export DEBIAN_FRONTEND=noninteractive
  echo "packages: installing ${missing[*]}"
  # An unreachable package source may not matter for these packages. So only the installation itself is fatal.
  quietly "${apt[@]}" update ||
    print_error 'apt-get update failed (see above); continuing with the existing package lists'
  quietly "${apt[@]}" install --no-install-recommends -- "${missing[@]}" || {
    print_error "apt-get could not install ${missing[*]} (see above)" \
      'check that this machine runs Debian 12, has internet access, and that "apt-get update" works'
    exit 1
  }
  # The tests start it on their hosts. On this machine, it would start with the next boot and close ports.
  [[ " ${missing[*]} " != *' firewalld '* ]] || quietly systemctl disable firewalld || true
}

main() {
  command -v dpkg-query >/dev/null || {
    print_error 'this machine does not run Debian; the commands of the Makefile need Debian 12'
    exit 1
  }
  find_missing
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$EUID" -ne 0 ]; then
    print_error "not installed, because this needs root: ${missing[*]}"
    return 0
  fi
  exec {machine}</usr/sbin
  flock "$machine" # two simultaneous runs would restore each other's policy
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap finish EXIT
  forbid_services
  install_missing
}

main

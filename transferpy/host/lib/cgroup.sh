# The control group of a session (cgroup v2). The kernel lists its processes, so nobody searches for them.
# requires: lib/environment

cgroup='' # the directory of the control group of this session; empty if the host has no cgroup v2

find_own_cgroup() { # sets REPLY to the directory of the control group in which this process is; fails without cgroup v2
  local mounts='' memberships='' fields=()
  IFS= read -r -d '' mounts </proc/self/mountinfo
  [[ $mounts == *' - cgroup2 '* ]] || return 1
  mounts=${mounts%% - cgroup2 *}
  read -ra fields <<<"${mounts##*$'\n'}"
  IFS= read -r -d '' memberships </proc/self/cgroup
  [[ $'\n'$memberships == *$'\n0::/'* ]] || return 1
  memberships=${memberships##*0::}
  REPLY=${fields[4]}${memberships%%$'\n'*}
  REPLY=${REPLY%/}
}

enter_cgroup() { # NAME FILE: makes a control group for this process and its children; FILE gets its directory before that
  REPLY=''
  find_own_cgroup
  printf %s "${REPLY:+$REPLY/$1}" >"$2" || return 1
  [ -n "$REPLY" ] || return 0
  mkdir -- "$REPLY/$1" 2>/dev/null || return 0
  # Only the kernel makes this file: the mounted directory may be another one than that of the control group.
  if [ -e "$REPLY/$1/cgroup.procs" ] && { echo $$ >"$REPLY/$1/cgroup.procs"; } 2>/dev/null; then
    cgroup=$REPLY/$1
  else
    rmdir -- "$REPLY/$1" 2>/dev/null
  fi
  return 0
}

leave_cgroup() { # moves this process back to the control group in which it was before
  [ -z "$cgroup" ] || { echo $$ >"${cgroup%/*}/cgroup.procs"; } 2>/dev/null || cgroup=''
}

remove_cgroup() { # DIRECTORY: fails if the control group still has processes
  local tries
  # A process that is about to end can still be in it.
  for tries in {1..20}; do
    { [ -n "$1" ] && [ -d "$1" ]; } || return 0
    ! rmdir -- "$1" 2>/dev/null || return 0
    sleep 0.05
  done
  return 1
}

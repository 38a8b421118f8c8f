# The mounts of this host, from the list of the kernel.
# requires: lib/events

read_mounts() { # sets the arrays mount_points, mount_types, mount_devices and mount_roots; of two mounts on one point, the last counts
  local device root point rest type
  mount_points=() mount_types=() mount_devices=() mount_roots=()
  while read -r _ _ device root point rest; do
    # Blanks and backslashes are octal numbers in this list. A separator follows the optional fields.
    # shellcheck disable=SC2059 # %b would take a digit that follows such a number for a part of it
    printf -v point -- "${point//%/%%}" && printf -v root -- "${root//%/%%}"
    read -r type _ <<<"${rest#* - }"
    mount_points+=("$point") mount_types+=("$type") mount_devices+=("$device") mount_roots+=("$root")
  done </proc/self/mountinfo
}

find_mount() { # REAL-PATH: sets REPLY to the index of the mount that holds the path
  local index longest=0
  REPLY=''
  for index in "${!mount_points[@]}"; do
    if [[ $1/ == "${mount_points[index]%/}"/* ]] && ((${#mount_points[index]} >= longest)); then
      longest=${#mount_points[index]} REPLY=$index
    fi
  done
  [ -n "$REPLY" ]
}

is_pseudo() { # TYPE: succeeds if files of this type of file system are views of the kernel, without content on a disk
  [[ $1 == @(proc|sysfs|cgroup*|devpts|securityfs|debugfs|tracefs|pstore|bpf|configfs|fusectl|mqueue|binfmt_misc|efivarfs) ||
    $1 == @(nsfs|rpc_pipefs|nfsd|selinuxfs|smackfs|resctrl|pipefs|sockfs|fuse.lxcfs|fuse.gvfsd-fuse|fuse.portal) ]]
}

mount_facts() { # PATH: the mounts inside of the source, and the type of its own file system if that is a pseudo one
  local real='' index within root kind
  local mount_points mount_types mount_devices mount_roots
  IFS= read -r -d '' real < <(realpath -ez -- "$1" 2>/dev/null) || return 0
  read_mounts
  find_mount "$real" || return 0
  within=$REPLY
  ! is_pseudo "${mount_types[within]}" || emit mount path="$(encode "$real")" type="${mount_types[within]}" kind=source
  # The path of the source in its file system.
  root=${mount_roots[within]%/}${real#"${mount_points[within]%/}"}
  for index in "${!mount_points[@]}"; do
    [[ ${mount_points[index]} == "${real%/}"/* ]] || continue
    kind=other
    if is_pseudo "${mount_types[index]}"; then
      # A later mount above it can hide it.
      [ "$(stat -c '%Hd:%Ld' -- "${mount_points[index]}" 2>/dev/null)" = "${mount_devices[index]}" ] || continue
      kind=pseudo
    elif [ "${mount_devices[index]}" = "${mount_devices[within]}" ]; then
      kind=bind
      # It shows the source, a directory above it, or a directory that contains the mount point.
      [[ $root${mount_points[index]#"${real%/}"}/ != "${mount_roots[index]%/}"/* ]] || kind=loop
    fi
    emit mount path="$(encode "${mount_points[index]}")" type="${mount_types[index]}" kind="$kind"
  done
}

holding_mount() { # REAL-PATH: sets REPLY to the mount point of the file system that holds the path
  local mount_points mount_types mount_devices mount_roots
  read_mounts
  find_mount "$1" || return 0
  # The mount point of an automounter without its file system.
  if [ "${mount_types[REPLY]}" = autofs ]; then REPLY=/; else REPLY=${mount_points[REPLY]}; fi
}

# The identity of a file system.
# requires: lib/environment

read_filesystem() { # PATH: sets REPLY to the identity of the file system of PATH, or of the first directory above it that exists
  local path=$1
  while [ ! -d "$path" ]; do
    path=${path%/*}
    path=${path:-/}
  done
  case $(stat -f -c %t -- "$path") in
    # ext4 and btrfs derive the identifier from their UUID. Others derive it from the number of the device, which can change.
    ef53 | 9123683e) REPLY=$(stat -f -c %i -- "$path") ;;
    *) REPLY=$(stat -c %i.%W -- "$(stat -c %m -- "$path")") ;;
  esac
}

# Facts about a target directory and about the owner of the copy.
# requires: lib/events lib/runs preflight/values preflight/mounts

target_facts() { # INDEX DIRECTORY FINAL-NAME
  local path=$2 state=directory real='' missing='' final='' content='' ancestors leftovers=''
  [[ $path == /* ]] || path=./$path
  # The session makes a missing directory inside of the first one above it that exists.
  until [ -d "$path" ]; do
    if [ -e "$path" ] || [ -L "$path" ]; then
      emit target index="$1" state=other
      return
    fi
    state=missing missing=${path##*/}/$missing path=${path%/*}
    path=${path:-/}
  done
  IFS= read -r -d '' real < <(realpath -ez -- "$path")
  identify_ancestors "$real" "$missing"
  ancestors=$REPLY
  if [ "$state" != missing ]; then
    [ -w "$path" ] || state=read-only
    final=$(stat -c %d:%i -- "$path/$3" 2>/dev/null)
    content=$(find "$path/" -mindepth 1 -maxdepth 1 ! -name lost+found -printf x -quit)
    find_leftovers "$path"
    leftovers=$REPLY
  fi
  holding_mount "$real"
  emit target index="$1" state="$state" path="$(encode "$real")" ancestors="$ancestors" final="$final" content="$content" \
    leftovers="$leftovers" mount="$(encode "$REPLY")" free="$(free_bytes "$path")" inodes="$(stat -f -c %c:%d -- "$path")"
}

identify_ancestors() { # DIRECTORY MISSING: sets REPLY to the identities of a directory and of all directories above it
  # A path that is missing inside of the directory comes first, with its name in place of an inode.
  local above=$1 paths=() identities
  while :; do
    paths+=("$above/")
    [[ -n $above && $above != / ]] || break
    above=${above%/*}
  done
  mapfile -t identities < <(stat -c %d:%i -- "${paths[@]}")
  [ -z "$2" ] || identities=("${identities[0]%%:*}:$(encode "$2").${identities[0]#*:}" "${identities[@]}")
  join_words "${identities[@]}"
}

find_leftovers() { # DIRECTORY: sets REPLY to the staging directories in it that no undo list removes
  local name leftovers=()
  for name in "$1"/.transferpy-*; do
    name=${name##*/}
    [[ $name =~ ^\.transferpy-([0-9a-f]{16})-[0-9]+$ ]] || continue
    # A session makes its run directory before its staging directory. In version 1.0, the name had a role before the run.
    compgen -G "$run_root/run.${BASH_REMATCH[1]}.*" >/dev/null ||
      compgen -G "$run_root/run.target.${BASH_REMATCH[1]}.*" >/dev/null || leftovers+=("$name")
  done
  join_words "${leftovers[@]:0:100}" # every user who can write there can make thousands
}

owner_facts() { # USER[:GROUP]: the one of both that this host does not have
  local user=${1%%:*} group=${1#*:} unknown=''
  # As chown does, a name before a number.
  getent passwd "$user" >/dev/null || [[ $user != *[!0-9]* ]] || unknown=$user
  [[ $1 != *:* ]] || getent group "$group" >/dev/null || [[ $group != *[!0-9]* ]] || unknown=$group
  emit owner unknown="$unknown"
}

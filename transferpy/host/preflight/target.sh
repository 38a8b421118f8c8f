# Facts on a target directory and on the owner of the copy.
# requires: lib/events preflight/words

owner_facts() { # USER[:GROUP]: whether this host knows both
  local user=${1%%:*} group=${1#*:} unknown=''
  # As chown does, names before numbers.
  getent passwd "$user" >/dev/null || [[ $user != *[!0-9]* ]] || unknown=$user
  [[ $1 != *:* ]] || getent group "$group" >/dev/null || [[ $group != *[!0-9]* ]] || unknown=$group
  emit owner unknown="$unknown"
}

target_facts() { # INDEX DIRECTORY FINAL-NAME
  local path=$2 state=directory real='' ancestors above paths=() inodes final content name leftovers=() missing=''
  [[ $path == /* ]] || path=./$path
  # Of a directory that is missing, what counts is the first above it that is there: it may be going to be made.
  until [ -d "$path" ]; do
    if [ -e "$path" ] || [ -L "$path" ]; then
      emit target index="$1" state=other
      return
    fi
    state=missing missing=${path##*/}/$missing path=${path%/*}
    path=${path:-/}
  done
  IFS= read -r -d '' real < <(realpath -ez -- "$path")
  above=$real
  while :; do
    paths+=("$above/")
    [ -n "$above" ] && [ "$above" != / ] || break
    above=${above%/*}
  done
  mapfile -t ancestors < <(stat -c %d:%i -- "${paths[@]}")
  [ -z "$missing" ] || ancestors=("${ancestors[0]%%:*}:$(encode "$missing").${ancestors[0]#*:}" "${ancestors[@]}")
  join_words "${ancestors[@]}"
  above=$REPLY
  [ "$state" = missing ] || [ -w "$path" ] || state=read-only
  if [ "$state" = missing ]; then
    emit target index="$1" state=missing path="$(encode "$real")" ancestors="$above" final='' content='' leftovers='' \
      free="$(free_bytes "$path")" inodes="$(stat -f -c %c:%d -- "$path")"
    return
  fi
  final=$(stat -c %d:%i -- "$path/$3" 2>/dev/null)
  for name in "$path"/.transferpy-*; do
    name=${name##*/}
    # A session makes its run directory first: without one, nobody will undo this.
    [[ ! $name =~ ^\.transferpy-([0-9a-f]{16})-[0-9]+$ ]] ||
      compgen -G "$run_root/run.target.${BASH_REMATCH[1]}.*" >/dev/null || leftovers+=("$name")
  done
  join_words "${leftovers[@]}"
  content=$(find "$path/" -mindepth 1 -maxdepth 1 ! -name lost+found -printf x -quit)
  inodes=$(stat -f -c %c:%d -- "$path")
  emit target index="$1" state="$state" path="$(encode "$real")" ancestors="$above" final="$final" content="$content" \
    leftovers="$REPLY" free="$(free_bytes "$path")" inodes="$inodes"
}

# shellcheck shell=bash
# Completion of transfer.py for bash: options, their choices and files, hosts of known_hosts and of /etc/hosts.
# Goes to /usr/share/bash-completion/completions/; or source it in ~/.bashrc.

_transfer_py_hosts() { # prints the names of hosts that ssh and this machine know; hashed ones cannot be read
  local file line word
  # shellcheck disable=SC2094 # nothing is written
  for file in ~/.ssh/known_hosts /etc/ssh/ssh_known_hosts /etc/hosts; do
    [ -r "$file" ] || continue
    while read -r line; do
      # Of known_hosts the first word, without a marker; of /etc/hosts all but the first.
      case $line in
        '' | '#'* | '|'*) continue ;;
        @*) line=${line#* } ;;
      esac
      if [ "$file" = /etc/hosts ]; then
        line=${line%%#*}
        line=${line#*[[:blank:]]}
      else
        line=${line%%[[:blank:]]*}
      fi
      for word in ${line//,/ }; do
        word=${word#[}
        word=${word%%]*}
        case $word in
          *[!A-Za-z0-9._-]* | *[*?]*) ;;
          *) printf '%s\n' "$word" ;;
        esac
      done
    done <"$file"
  done
}

_transfer_py() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  # "=" and ":" break words for readline; the option stands before the first of them.
  [ "$current" != = ] || current=
  [ "$previous" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}
  COMPREPLY=()
  case $previous in
    --type) mapfile -t COMPREPLY < <(compgen -W 'file xtrabackup decompress' -- "$current") ;;
    --compressor) mapfile -t COMPREPLY < <(compgen -W 'auto zstd pigz lz4' -- "$current") ;;
    --checksum-algorithm) mapfile -t COMPREPLY < <(compgen -W 'auto md5 sha256 xxh128 b3' -- "$current") ;;
    --priority) mapfile -t COMPREPLY < <(compgen -W 'normal low' -- "$current") ;;
    --firewall) mapfile -t COMPREPLY < <(compgen -W 'auto iptables nftables none' -- "$current") ;;
    --config | --job | --report | --metrics | --log-file)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    --defaults-file | --port | --connect-timeout | --idle-timeout | --compress-level | --compress-threads | --bwlimit) ;;
    --owner) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
    :) ;; # a path on another host
    *)
      case $current in
        -*) mapfile -t COMPREPLY < <(compgen -W "$_transfer_py_options" -- "$current") ;;
        *:*) ;;
        *)
          compopt -o nospace 2>/dev/null
          mapfile -t COMPREPLY < <(compgen -S : -W "$(_transfer_py_hosts)" -- "$current" | sort -u)
          ;;
      esac
      ;;
  esac
}

_transfer_py_options='
--job --type --compress --no-compress --compressor --compress-level --compress-threads --encrypt --no-encrypt
--checksum --no-checksum --parallel-checksum --no-parallel-checksum --checksum-algorithm --stop-slave
--no-stop-slave --prepare --no-prepare --defaults-file --owner --create-target --no-create-target --dry-run
--no-dry-run --port --firewall --bwlimit --connect-timeout --idle-timeout --priority --verbose --no-verbose
--quiet --no-quiet --report --metrics --log-file --syslog --no-syslog --config --version -h --help
'

complete -F _transfer_py transfer.py

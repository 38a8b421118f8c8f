# shellcheck shell=bash
# Completion of transfer.py for bash: options and their values; hosts of known_hosts and /etc/hosts.
# Install it in /usr/share/bash-completion/completions, or source it in ~/.bashrc.

_transfer_py_hosts() { # print the host names in known_hosts, unless they are hashed, and in /etc/hosts
  local file line word
  # shellcheck disable=SC2094 # the loop reads only
  for file in ~/.ssh/known_hosts /etc/ssh/ssh_known_hosts /etc/hosts; do
    [ -r "$file" ] || continue
    while read -r line; do
      # In known_hosts the first word after a marker; in /etc/hosts every word but the first.
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

_transfer_py_offer() { # set the words that compgen prints with these arguments
  [ "$1" != -f ] || compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$@" -- "$current")
}

_transfer_py() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  # readline splits words at "=" and ":"; the option is the word before the first of them.
  [ "$current" != = ] || current=
  [ "$previous" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}
  COMPREPLY=()
  case $previous in
    # generated: begin
    --job) _transfer_py_offer -f ;;
    --type) _transfer_py_offer -W 'file xtrabackup decompress' ;;
    --compressor) _transfer_py_offer -W 'auto zstd pigz lz4' ;;
    --compress-level) : ;;
    --compress-threads) : ;;
    --checksum-algorithm) _transfer_py_offer -W 'auto xxh128 b3 md5 sha256' ;;
    --safe-timeout) : ;;
    --max-stop-time) : ;;
    --defaults-file) : ;;
    --owner) _transfer_py_offer -u ;;
    --port) : ;;
    --firewall) _transfer_py_offer -W 'auto iptables nftables firewalld none' ;;
    --streams) : ;;
    --bwlimit) : ;;
    --connect-timeout) : ;;
    --idle-timeout) : ;;
    --stall-timeout) : ;;
    --retries) : ;;
    --copy-timeout) : ;;
    --priority) _transfer_py_offer -W 'normal low' ;;
    --report) _transfer_py_offer -f ;;
    --metrics) _transfer_py_offer -f ;;
    --log-file) _transfer_py_offer -f ;;
    --config) _transfer_py_offer -f ;;
    # generated: end
    :) ;; # a path on another host
    *)
      case $current in
        -*) _transfer_py_offer -W "$_transfer_py_options" ;;
        *:*) ;;
        *)
          compopt -o nospace 2>/dev/null
          mapfile -t COMPREPLY < <(compgen -S : -W "$(_transfer_py_hosts)" -- "$current" | sort -u)
          ;;
      esac
      ;;
  esac
}

# generated: begin
_transfer_py_options='
--job --type --compress --no-compress --compressor --compress-level --compress-threads --encrypt --no-encrypt
--checksum --no-checksum --parallel-checksum --no-parallel-checksum --checksum-algorithm --stop-slave
--no-stop-slave --safe-timeout --max-stop-time --prepare --no-prepare --defaults-file --one-file-system
--no-one-file-system --owner --create-target --no-create-target --require-mount --no-require-mount --port
--firewall --streams --bwlimit --connect-timeout --idle-timeout --stall-timeout --retries --copy-timeout
--priority --dry-run --no-dry-run --verbose --no-verbose --quiet --no-quiet --report --metrics --log-file
--syslog --no-syslog --config --version -h --help
'
# generated: end

complete -F _transfer_py transfer.py

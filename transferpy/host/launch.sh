# The start of every script on a host: the environment of the login ends here, and the script gets one that this project makes.
#
# Called as: /bin/bash --norc -pc LAUNCH UNPACK transferpy IDENTIFIER. With -p, bash takes no functions, options or start-up file
# from its environment. Each line is a complete command without single quotes: they are joined, and become one word for any
# login shell.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset HOME
HOME=~
[ -z "${SSH_CONNECTION-}" ] || cd ~ || cd /
set_limit() { ulimit -S "$1" "$2" || ulimit "$1" "$2"; } 2>/dev/null
for option in -d -f -m -t -v; do set_limit $option unlimited; done
set_limit -c 0
set_limit -s 8192
[ "$(ulimit -n)" -ge 1024 ] || set_limit -n 1024
umask 077
exec env -i --default-signal PATH="$PATH" HOME="$HOME" SSH_CONNECTION="${SSH_CONNECTION-}" OPENSSL_CONF=/dev/null TRANSFERPY_JOB="${2-}" bash --norc -c "$0" "$@"

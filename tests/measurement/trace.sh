# shellcheck shell=bash
# Makes bash write a trace of a script for a host. Each bash process reads it that starts with its name in BASH_ENV. The
# scripts do not inherit this variable from the tests: tests/conftest.py adds it to the environment of their launch, and on the
# hosts of a lab the program /usr/sbin/bash does.
#
# The trace is a file of its own: first the commands of bash -c, ended by NUL, then one line for each command that ran:
# pluses, and the number of the command's line between two @.

[ "$0" = transferpy ] || return 0
unset BASH_ENV # the environment of the script is that of a script without a trace
{ exec {trace}>>"${BASH_SOURCE[0]%/tests/*}/.cache/coverage/trace.$$.$SRANDOM"; } 2>/dev/null || return 0
printf '%s\0' "$BASH_EXECUTION_STRING" >&"$trace"
BASH_XTRACEFD=$trace
# shellcheck disable=SC2016 # bash expands it for each command
PS4='+@$LINENO@ '
set -x

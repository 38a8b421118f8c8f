# shellcheck shell=bash
# Makes bash write a trace of a script for a host. Each bash process reads it that starts with its name in BASH_ENV, or by
# ssh on a host of the lab.
#
# The trace is a file of its own: first the commands of bash -c, ended by NUL, then one line for each command that ran:
# pluses, and the number of the command's line between two @.

[ "$0" = transferpy ] || return 0
{ exec {trace}>>"${BASH_SOURCE[0]%/tests/*}/.cache/coverage/trace.$$.$SRANDOM"; } 2>/dev/null || return 0
printf '%s\0' "$BASH_EXECUTION_STRING" >&"$trace"
BASH_XTRACEFD=$trace
# shellcheck disable=SC2016 # bash expands it for each command
PS4='+@$LINENO@ '
set -x

# The shell options of every script on a host. Its environment variables are those of launch.sh.
#
# A script is called as: bash -c SCRIPT transferpy IDENTIFIER. IDENTIFIER is a word by which the processes of the script are
# found: no other process has it in its command line or in its environment.

set -u -o pipefail
umask 077
export LC_ALL=C
identifier=${1-transferpy-$$}
export TRANSFERPY_JOB=$identifier

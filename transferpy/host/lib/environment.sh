# The environment of every script on a host: shell options and environment variables.
#
# A script is called as: bash -c SCRIPT transferpy IDENTIFIER. IDENTIFIER is a word by which the processes of the script are
# found: no other process has it in its command line or in its environment.

set +o posix
set -u -o pipefail
umask 077
# The settings of an administrator must not change the behaviour of the tools.
unset PERL5OPT PERL5LIB TAR_OPTIONS GZIP PIGZ ZSTD_CLEVEL ZSTD_NBTHREADS POSIXLY_CORRECT GREP_OPTIONS CDPATH TMPDIR
unset BLOCKSIZE BLOCK_SIZE GLOBIGNORE
export LC_ALL=C PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
identifier=${1-transferpy-$$}
export TRANSFERPY_JOB=$identifier

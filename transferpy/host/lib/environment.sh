# The environment of every script on a host.
#
# A script is called as: bash -c SCRIPT transferpy JOB, where JOB is a word that no other process has in its command line.

set +o posix
set -u -o pipefail
umask 077
# Whatever the host's administrator likes for himself must not change what the tools do here.
unset PERL5OPT PERL5LIB TAR_OPTIONS GZIP PIGZ ZSTD_CLEVEL ZSTD_NBTHREADS POSIXLY_CORRECT GREP_OPTIONS CDPATH TMPDIR BLOCKSIZE BLOCK_SIZE GLOBIGNORE
export LC_ALL=C PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
job=${1-transferpy-$$}
export TRANSFERPY_JOB=$job
readonly run_root=/run/transferpy
exec {events}>&1
run_directory=

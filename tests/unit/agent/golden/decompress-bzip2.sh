# shellcheck shell=bash disable=SC2016,SC2034,SC2154,SC2209,SC2317
# (SC2016: nothing in a name is to be expanded. SC2209: "file" is meant as text. The others: the fixed texts, left out
# here, give variables and functions their use.)
# What the hosts are told for: decompress-bzip2: 'db1:/srv/backups/sqldata.tar' 'db2:/srv/y'

# === preflight on db1
# files: lib/environment lib/processes lib/clock lib/termination lib/cgroup lib/events lib/locks lib/lists lib/runs lib/undo perl/directories lib/directories lib/directories_1_0 preflight/values firewall/firewalld firewall/nftables firewall/iptables perl/rows lib/queries replication lib/recovery lib/sockets preflight/host perl/force_buffers perl/stream_abilities preflight/buffers preflight/mounts perl/totals perl/follow_no_links preflight/source perl/backup_options lib/backup_options perl/server_files preflight/data_files preflight/database preflight/routes preflight/target preflight/main
run_id=0123456789abcdef
keep_input
start_activity_reports
recover_stale_runs
host_facts tar flock awk cmp md5sum getent perl ss netstat ip socat openssl mariadb mysql mariadb-backup mariabackup xtrabackup mbstream xbstream zstd pigz gzip lz4 bzip2 lzip lzop xz xxh128sum b3sum sha256sum
buffer_facts
announce_path /srv/backups/sqldata.tar/
source_facts /srv/backups/sqldata.tar/
magic_facts /srv/backups/sqldata.tar
announce_path ''
route_facts 0 db2 203.0.113.9
emit asked
stop_activity_reports
run_next_script

# === preflight on db2
# files: lib/environment lib/processes lib/clock lib/termination lib/cgroup lib/events lib/locks lib/lists lib/runs lib/undo perl/directories lib/directories lib/directories_1_0 preflight/values firewall/firewalld firewall/nftables firewall/iptables perl/rows lib/queries replication lib/recovery lib/sockets preflight/host perl/force_buffers perl/stream_abilities preflight/buffers preflight/mounts perl/totals perl/follow_no_links preflight/source perl/backup_options lib/backup_options perl/server_files preflight/data_files preflight/database preflight/routes preflight/target preflight/main
run_id=0123456789abcdef
keep_input
start_activity_reports
recover_stale_runs
host_facts tar flock awk cmp md5sum getent perl ss netstat ip socat openssl mariadb mysql mariadb-backup mariabackup xtrabackup mbstream xbstream zstd pigz gzip lz4 bzip2 lzip lzop xz xxh128sum b3sum sha256sum
buffer_facts
announce_path ''
iptables_facts
nftables_facts
firewalld_facts
announce_path /srv/y
target_facts 0 /srv/y sqldata.tar
emit asked
stop_activity_reports
run_next_script

# === session on db1
# files: lib/environment lib/lists lib/processes lib/clock lib/termination lib/events lib/locks lib/runs lib/undo agent/inputs agent/tasks agent/keys perl/rows lib/queries replication agent/replication lib/cgroup agent/main perl/widen_pipe perl/tee perl/limit perl/count perl/watch_peer lib/pipes agent/lanes perl/manifest agent/manifest perl/digest agent/digests perl/relay_send perl/relay_receive agent/relay agent/streams agent/directories perl/sample perl/benchmark agent/sampling agent/read perl/handshake perl/chains agent/handshake agent/connect types/decompress
run_id=0123456789abcdef
source_directory=/srv/backups
source_name=sqldata.tar
distributes=no
stop_slave=no
safe_timeout=0
max_stop_time=0
own_name=source.0123456789abcdef
cores=4
compress_threads=4
transfer_type=decompress
owner=''
encrypt=yes
one_file_system=no
checksum=no
priority=normal
abilities=(read connect)
declare -A progress_program=([send_0_none]=cat)
client=()
benchmarked=()
send_0_none() {
  exec {branch_1}> >({ widen_pipe; exec wc -c; } >"${run_directory}"/sent"${lane}".digest 2>"$run_directory"/send_0"$lane".1.err)
  local process_1=$!
  measure_input send_0"$lane" cat -- ./sqldata.tar 2>"$run_directory"/send_0"$lane".0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/send_0"$lane".1.err |
    perl -e "${perl_watch_peer}" 30 5 7 send yes pipeline socat -u -b 262144 STDIN OPENSSL:"${peer_address}":"${peer_port}",nodelay,keepalive,keepidle=5,keepintvl=5,keepcnt=7"${send_buffer}",cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/receiver.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=target.0123456789abcdef 2>"$run_directory"/send_0"$lane".2.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
run_session

# === session for db2
# files: lib/environment lib/lists lib/processes lib/clock lib/termination lib/events lib/locks lib/runs lib/undo agent/inputs agent/tasks agent/keys perl/rows lib/queries replication agent/replication lib/cgroup agent/main perl/widen_pipe perl/tee perl/limit perl/count perl/watch_peer lib/pipes agent/lanes perl/manifest agent/manifest perl/digest agent/digests perl/relay_send perl/relay_receive agent/relay agent/streams agent/directories perl/storage agent/storage perl/directories lib/directories perl/flush agent/unpack lib/sockets perl/hold_port agent/ports perl/handshake perl/chains agent/handshake preflight/values firewall/firewalld firewall/nftables firewall/iptables agent/listeners perl/confine lib/confine perl/make_parents agent/more_lanes agent/listen agent/verify perl/privileges agent/owner lib/filesystems agent/publish perl/sample perl/benchmark agent/sampling agent/read types/decompress
run_id=0123456789abcdef
wanted_port=0
shares_port=yes
probe=no
probe_buffer=0
sender_address=198.18.0.1
target_directory=/srv/y
staging_name=.transferpy-0123456789abcdef-0
source_name=sqldata.tar
final_name=sqldata.tar
create_target=no
prepare=no
own_name=target.0123456789abcdef
cores=4
transfer_type=decompress
owner=''
encrypt=yes
one_file_system=no
checksum=no
priority=normal
abilities=(unpack listen verify publish)
declare -A progress_program=([receive_none]=socat)
register_firewall_undo() {
  return 0
}
open_firewall() {
  local status=0
  return "$status"
}
receive_none() {
  exec {branch_1}> >({ widen_pipe; exec wc -c; } >"${run_directory}"/received"${lane}".digest 2>"$run_directory"/receive"$lane".1.err)
  local process_1=$!
  measure_input receive"$lane" perl -e "${perl_watch_peer}" 30 5 7 receive yes pipeline socat -u -b 262144 OPENSSL-LISTEN:"${port}",pf=ip4,reuseaddr,reuseport,range=198.18.0.1/32,keepalive,keepidle=5,keepintvl=5,keepcnt=7"${receive_buffer}",cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/sender.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=source.0123456789abcdef STDOUT 2>"$run_directory"/receive"$lane".0.err |
    perl -e "${perl_tee}" "${branch_1}" 2>>"$run_directory"/receive"$lane".1.err |
    { widen_pipe; exec bzip2 --decompress --stdout; } 2>"$run_directory"/receive"$lane".2.err |
    { widen_pipe; tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore --warning=no-timestamp --warning=no-unknown-keyword --warning=no-contiguous-cast --ignore-zeros --block-number --index-file="${run_directory}"/tarball.marks -b 256 --file=- && cat >/dev/null; } 2>"$run_directory"/receive"$lane".3.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
prepare_copy() {
  return 0
}
run_session

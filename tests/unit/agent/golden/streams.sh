# shellcheck shell=bash disable=SC2016,SC2034,SC2154,SC2209,SC2317
# (SC2016: nothing in a name is to be expanded. SC2209: "file" is meant as text. The others: the fixed texts, left out
# here, give variables and functions their use.)
# What the hosts are told for: streams: 'db1:/srv/x' 'db2:/srv/y'

# === preflight on db1
# files: lib/environment lib/processes lib/clock lib/termination lib/cgroup lib/events lib/locks lib/lists lib/runs lib/undo perl/directories lib/directories lib/directories_1_0 preflight/values firewall/firewalld firewall/nftables firewall/iptables perl/rows lib/queries replication lib/recovery lib/sockets preflight/host perl/force_buffers perl/stream_abilities preflight/buffers preflight/mounts perl/totals perl/follow_no_links preflight/source perl/backup_options lib/backup_options perl/server_files preflight/data_files preflight/database preflight/routes preflight/target preflight/main
run_id=0123456789abcdef
keep_input
start_activity_reports
recover_stale_runs
host_facts tar flock awk cmp md5sum getent perl ss netstat ip socat openssl mariadb mysql mariadb-backup mariabackup xtrabackup mbstream xbstream zstd pigz gzip lz4 bzip2 lzip lzop xz xxh128sum b3sum sha256sum
buffer_facts
announce_path /srv/x
source_facts /srv/x
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
target_facts 0 /srv/y x
emit asked
stop_activity_reports
run_next_script

# === session on db1
# files: lib/environment lib/lists lib/processes lib/clock lib/termination lib/events lib/locks lib/runs lib/undo agent/inputs agent/tasks agent/keys perl/rows lib/queries replication agent/replication lib/cgroup agent/main perl/widen_pipe perl/tee perl/limit perl/count perl/watch_peer lib/pipes agent/lanes perl/manifest agent/manifest perl/digest agent/digests perl/relay_send perl/relay_receive agent/relay agent/streams agent/directories perl/sample perl/benchmark agent/sampling agent/read perl/handshake perl/chains agent/handshake agent/connect perl/distribute perl/names perl/follow_no_links perl/send_parents agent/distribution perl/privileges agent/owner types/file
run_id=0123456789abcdef
source_directory=/srv
source_name=x
distributes=yes
stop_slave=no
safe_timeout=0
max_stop_time=0
own_name=source.0123456789abcdef
cores=4
compress_threads=4
transfer_type=file
owner=''
encrypt=yes
one_file_system=no
checksum=yes
priority=normal
abilities=(read connect)
digest_tool=(xxh128sum)
declare -A progress_program=([send_0_zstd1]=tar [send_0_lanes_zstd1]=tar)
client=()
benchmarked=()
send_0_zstd1() {
  measure_input send_0"$lane" tar --create --format=posix --pax-option=delete=atime,delete=ctime --acls --xattrs '--xattrs-include=*' --numeric-owner --sort=name --warning=no-timestamp --warning=no-file-ignored --no-unquote --sparse -vv --quoting-style=escape --index-file="${lists}"/members"${lane}" -b 256 --file=- -- ./x 2>"$run_directory"/send_0"$lane".0.err |
    { widen_pipe; exec zstd --stdout --quiet -T4 -1; } 2>"$run_directory"/send_0"$lane".1.err |
    { widen_pipe; exec perl -e "${perl_limit}" -- 10000000 "${run_directory}"/limit; } 2>"$run_directory"/send_0"$lane".2.err |
    perl -e "${perl_watch_peer}" 30 5 7 send yes pipeline socat -u -b 262144 STDIN OPENSSL:"${peer_address}":"${peer_port}",nodelay,keepalive,keepidle=5,keepintvl=5,keepcnt=7"${send_buffer}",cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/receiver.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=target.0123456789abcdef 2>"$run_directory"/send_0"$lane".3.err
  statuses=("${PIPESTATUS[@]}")
}
send_0_lanes_zstd1() {
  measure_input send_0"$lane" perl -e "${perl_names}" -- "${lists}"/lane "${lane}" 2>"$run_directory"/send_0"$lane".0.err |
    { widen_pipe; exec perl -e "${perl_follow_no_links}" -- perl -e "${perl_send_parents}" -- "${lists}"/lane"${lane}".parents tar --create --format=posix --pax-option=delete=atime,delete=ctime --acls --xattrs '--xattrs-include=*' --numeric-owner --sort=name --warning=no-timestamp --warning=no-file-ignored --no-unquote --sparse -vv --quoting-style=escape --index-file="${lists}"/members"${lane}" --null --no-recursion --files-from=- -b 256 --file=-; } 2>"$run_directory"/send_0"$lane".1.err |
    { widen_pipe; exec zstd --stdout --quiet -T"${lane_threads}" -1; } 2>"$run_directory"/send_0"$lane".2.err |
    { widen_pipe; exec perl -e "${perl_limit}" -- 10000000 "${run_directory}"/limit; } 2>"$run_directory"/send_0"$lane".3.err |
    perl -e "${perl_watch_peer}" 30 5 7 send yes pipeline socat -u -b 262144 STDIN OPENSSL:"${peer_address}":"${peer_port}",nodelay,keepalive,keepidle=5,keepintvl=5,keepcnt=7"${send_buffer}",cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/receiver.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=target.0123456789abcdef 2>"$run_directory"/send_0"$lane".4.err
  statuses=("${PIPESTATUS[@]}")
}
run_session

# === session for db2
# files: lib/environment lib/lists lib/processes lib/clock lib/termination lib/events lib/locks lib/runs lib/undo agent/inputs agent/tasks agent/keys perl/rows lib/queries replication agent/replication lib/cgroup agent/main perl/widen_pipe perl/tee perl/limit perl/count perl/watch_peer lib/pipes agent/lanes perl/manifest agent/manifest perl/digest agent/digests perl/relay_send perl/relay_receive agent/relay agent/streams agent/directories perl/storage agent/storage perl/directories lib/directories perl/flush agent/unpack lib/sockets perl/hold_port agent/ports perl/handshake perl/chains agent/handshake preflight/values firewall/firewalld firewall/nftables firewall/iptables agent/listeners perl/confine lib/confine perl/make_parents agent/more_lanes agent/listen agent/verify perl/privileges agent/owner lib/filesystems agent/publish perl/sample perl/benchmark agent/sampling agent/read perl/distribute perl/names perl/follow_no_links perl/send_parents agent/distribution types/file
run_id=0123456789abcdef
wanted_port=0
shares_port=yes
probe=no
probe_buffer=0
sender_address=198.18.0.1
target_directory=/srv/y
staging_name=.transferpy-0123456789abcdef-0
source_name=x
final_name=x
create_target=no
prepare=no
own_name=target.0123456789abcdef
cores=4
transfer_type=file
owner=''
encrypt=yes
one_file_system=no
checksum=yes
priority=normal
abilities=(unpack listen verify publish)
digest_tool=(xxh128sum)
declare -A progress_program=([receive_zstd1]=socat [receive_lanes_zstd1]=socat)
register_firewall_undo() {
  on_undo firewall"${lane}" delete_while_present iptables -s 198.18.0.1 -p tcp --dport "${port}" -m comment --comment transferpy-0123456789abcdef -j ACCEPT || return
  return 0
}
open_firewall() {
  local status=0
  iptables -w 30 -I INPUT 1 -s 198.18.0.1 -p tcp --dport "${port}" -m comment --comment transferpy-0123456789abcdef -j ACCEPT || status=1
  return "$status"
}
receive_zstd1() {
  measure_input receive"$lane" perl -e "${perl_watch_peer}" 30 5 7 receive yes pipeline socat -u -b 262144 OPENSSL-LISTEN:"${port}",pf=ip4,reuseaddr,reuseport,range=198.18.0.1/32,keepalive,keepidle=5,keepintvl=5,keepcnt=7"${receive_buffer}",cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/sender.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=source.0123456789abcdef STDOUT 2>"$run_directory"/receive"$lane".0.err |
    zstd --decompress --stdout 2>"$run_directory"/receive"$lane".1.err |
    { widen_pipe; tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore --warning=no-timestamp -vv --quoting-style=escape --index-file="${lists}"/members"${lane}" --keep-old-files -b 256 --file=- && cat >/dev/null; } 2>"$run_directory"/receive"$lane".2.err
  statuses=("${PIPESTATUS[@]}")
}
receive_lanes_zstd1() {
  measure_input receive"$lane" perl -e "${perl_watch_peer}" 30 5 7 receive yes pipeline socat -u -b 262144 OPENSSL-LISTEN:"${port}",pf=ip4,reuseaddr,reuseport,range=198.18.0.1/32,keepalive,keepidle=5,keepintvl=5,keepcnt=7"${receive_buffer}",cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/sender.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=source.0123456789abcdef STDOUT 2>"$run_directory"/receive"$lane".0.err |
    zstd --decompress --stdout 2>"$run_directory"/receive"$lane".1.err |
    { widen_pipe; confine perl -e "${perl_make_parents}" -- tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore --warning=no-timestamp -vv --quoting-style=escape -b 256 --file=- >"${lists}"/members"${lane}" && cat >/dev/null; } 2>"$run_directory"/receive"$lane".2.err
  statuses=("${PIPESTATUS[@]}")
}
prepare_copy() {
  return 0
}
run_session

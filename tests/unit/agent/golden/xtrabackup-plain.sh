# shellcheck shell=bash disable=SC2016,SC2034,SC2154,SC2209,SC2317
# (SC2016: nothing in a name is to be expanded. SC2209: "file" is meant as text. The others: the fixed texts, left out
# here, give variables and functions their use.)
# What the hosts are told for: xtrabackup-plain: 'db1:/run/mysqld/mysqld.sock' 'db2:/srv/y'

# === preflight on db1
# files: lib/environment lib/events lib/processes lib/undo lib/directories firewall/iptables firewall/nftables replication lib/recovery lib/sockets preflight/words preflight/host preflight/source preflight/database preflight/routes preflight/firewall preflight/target preflight/main
run_id=0123456789abcdef
keep_input
begin_watch
finish_dead_runs
host_facts tar flock awk cmp md5sum getent perl ss netstat ip socat openssl mariadb mysql mariadb-backup mariabackup xtrabackup mbstream xbstream zstd pigz gzip lz4 xz xxh128sum b3sum sha256sum
netcat_facts nc nc.openbsd ncat nc.traditional netcat
database_facts /run/mysqld/mysqld.sock --host=localhost --protocol=socket --socket=/run/mysqld/mysqld.sock
backup_facts mariadb-backup mariabackup xtrabackup
about ''
route_facts 0 db2 203.0.113.9
emit asked
end_watch
await_script

# === preflight on db2
# files: lib/environment lib/events lib/processes lib/undo lib/directories firewall/iptables firewall/nftables replication lib/recovery lib/sockets preflight/words preflight/host preflight/source preflight/database preflight/routes preflight/firewall preflight/target preflight/main
run_id=0123456789abcdef
keep_input
begin_watch
finish_dead_runs
host_facts tar flock awk cmp md5sum getent perl ss netstat ip socat openssl mariadb mysql mariadb-backup mariabackup xtrabackup mbstream xbstream zstd pigz gzip lz4 xz xxh128sum b3sum sha256sum
netcat_facts nc nc.openbsd ncat nc.traditional netcat
backup_facts mariadb-backup mariabackup xtrabackup
about ''
firewall_facts
about /srv/y
target_facts 0 /srv/y mysqld.sock
emit asked
end_watch
await_script

# === session on db1
# files: lib/environment lib/events lib/sockets agent/tasks agent/manifest agent/source perl/digest agent/digests agent/keys perl/sample agent/sampling lib/processes lib/undo replication agent/replication types/file types/xtrabackup types/decompress perl/widen_pipe perl/tee perl/limit perl/count lib/pipes lib/directories agent/main agent/send
run_id=0123456789abcdef
role=source
source_directory=/srv/sqldata
source_name=''
stop_slave=no
own_name=source.0123456789abcdef
cores=16
transfer_type=xtrabackup
encrypt=no
checksum=no
priority=normal
declare -A watched_by=([none]=xxh128sum)
client=(mariadb --host=localhost --protocol=socket --socket=/run/mysqld/mysqld.sock --connect-timeout=30 --batch --skip-column-names)
tried=()
send_0_none() {
  exec {branch_1}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/send_0.1.err)
  local process_1=$!
  metered send_0 mariadb-backup --host=localhost --protocol=socket --socket=/run/mysqld/mysqld.sock --backup --stream=xbstream --slave-info --close-files --parallel=16 2>"$run_directory"/send_0.0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/send_0.1.err |
    { widen_pipe; exec socat -u -b 262144 STDIN TCP:"${peer_address}":"${port}",nodelay; } 2>"$run_directory"/send_0.2.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
source_session

# === session for db2
# files: lib/environment lib/events lib/undo lib/directories lib/sockets agent/tasks agent/target agent/ports firewall/iptables firewall/nftables agent/keys agent/manifest agent/source perl/digest agent/digests agent/publish types/file types/xtrabackup types/decompress perl/widen_pipe perl/tee perl/limit perl/count lib/pipes lib/processes replication agent/replication agent/main agent/receive
run_id=0123456789abcdef
role=target
wanted_port=0
probe=no
target_directory=/srv/y
staging_name=.transferpy-0123456789abcdef-0
source_name=''
final_name=mysqld.sock
owner=''
create_target=no
prepare=no
own_name=target.0123456789abcdef
cores=4
transfer_type=xtrabackup
encrypt=no
checksum=no
priority=normal
declare -A watched_by=([none]=socat)
note_firewall_rules() {
  return 0
}
open_firewall() {
  return 0
}
receive_none() {
  exec {branch_1}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/receive.1.err)
  local process_1=$!
  metered receive socat -u -b 262144 TCP-LISTEN:"${port}",pf=ip4,reuseaddr,range=198.18.0.1/32 STDOUT 2>"$run_directory"/receive.0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/receive.1.err |
    { widen_pipe; exec mbstream --extract --directory=.; } 2>"$run_directory"/receive.2.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
prepare_copy() {
  return 0
}
target_session

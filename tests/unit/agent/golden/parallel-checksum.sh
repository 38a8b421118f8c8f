# shellcheck shell=bash disable=SC2016,SC2034,SC2154,SC2209,SC2317
# (SC2016: nothing in a name is to be expanded. SC2209: "file" is meant as text. The others: the fixed texts, left out
# here, give variables and functions their use.)
# What the hosts are told for: parallel-checksum: 'db1:/srv/x' 'db2:/srv/y'

# === preflight on db1
# files: lib/environment lib/events lib/processes lib/undo lib/directories firewall/iptables firewall/nftables replication lib/recovery lib/sockets preflight/words preflight/host preflight/source preflight/database preflight/routes preflight/firewall preflight/target preflight/main
run_id=0123456789abcdef
keep_input
begin_watch
finish_dead_runs
host_facts tar flock awk cmp md5sum getent perl ss netstat ip socat openssl mariadb mysql mariadb-backup mariabackup xtrabackup mbstream xbstream zstd pigz gzip lz4 xz xxh128sum b3sum sha256sum
about /srv/x
source_facts /srv/x
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
about ''
firewall_facts
about /srv/y
target_facts 0 /srv/y x
emit asked
end_watch
await_script

# === session on db1
# files: lib/environment lib/events lib/sockets agent/tasks agent/manifest agent/source perl/digest agent/digests agent/keys perl/sample agent/sampling lib/processes lib/undo replication agent/replication types/file types/xtrabackup types/decompress perl/widen_pipe perl/tee perl/limit perl/count lib/pipes lib/directories agent/main agent/send
run_id=0123456789abcdef
role=source
source_directory=/srv
source_name=x
stop_slave=no
sample_directory=''
sampled_bytes=4000000
own_name=source.0123456789abcdef
cores=16
transfer_type=file
encrypt=yes
checksum=no
priority=normal
declare -A watched_by=([none]=tar [zstd1]=tar [zstd3]=tar [lz41]=tar)
client=()
tried=(zstd1 zstd3 lz41)
try_zstd1() {
  zstd --stdout --quiet -T1 -1 || return
  return 0
}
try_zstd3() {
  zstd --stdout --quiet -T1 -3 || return
  return 0
}
try_lz41() {
  lz4 --stdout --quiet -1 || return
  return 0
}
send_0_none() {
  exec {branch_1}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/send_0.1.err)
  local process_1=$!
  metered send_0 tar --create --format=posix --pax-option=delete=atime,delete=ctime --sparse --acls --xattrs '--xattrs-include=*' --numeric-owner --sort=name --no-unquote -b 256 --file=- -- ./x 2>"$run_directory"/send_0.0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/send_0.1.err |
    { widen_pipe; exec socat -u -b 262144 STDIN OPENSSL:"${peer_address}":"${port}",nodelay,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=target.0123456789abcdef; } 2>"$run_directory"/send_0.2.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
send_0_zstd1() {
  exec {branch_2}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/send_0.2.err)
  local process_2=$!
  metered send_0 tar --create --format=posix --pax-option=delete=atime,delete=ctime --sparse --acls --xattrs '--xattrs-include=*' --numeric-owner --sort=name --no-unquote -b 256 --file=- -- ./x 2>"$run_directory"/send_0.0.err |
    { widen_pipe; exec zstd --stdout --quiet -T16 -1; } 2>"$run_directory"/send_0.1.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_2}"; } 2>>"$run_directory"/send_0.2.err |
    { widen_pipe; exec socat -u -b 262144 STDIN OPENSSL:"${peer_address}":"${port}",nodelay,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=target.0123456789abcdef; } 2>"$run_directory"/send_0.3.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_2}>&-
  wait "$process_2" || statuses[2]=$?
}
send_0_zstd3() {
  exec {branch_2}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/send_0.2.err)
  local process_2=$!
  metered send_0 tar --create --format=posix --pax-option=delete=atime,delete=ctime --sparse --acls --xattrs '--xattrs-include=*' --numeric-owner --sort=name --no-unquote -b 256 --file=- -- ./x 2>"$run_directory"/send_0.0.err |
    { widen_pipe; exec zstd --stdout --quiet -T16 -3; } 2>"$run_directory"/send_0.1.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_2}"; } 2>>"$run_directory"/send_0.2.err |
    { widen_pipe; exec socat -u -b 262144 STDIN OPENSSL:"${peer_address}":"${port}",nodelay,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=target.0123456789abcdef; } 2>"$run_directory"/send_0.3.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_2}>&-
  wait "$process_2" || statuses[2]=$?
}
send_0_lz41() {
  exec {branch_2}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/send_0.2.err)
  local process_2=$!
  metered send_0 tar --create --format=posix --pax-option=delete=atime,delete=ctime --sparse --acls --xattrs '--xattrs-include=*' --numeric-owner --sort=name --no-unquote -b 256 --file=- -- ./x 2>"$run_directory"/send_0.0.err |
    { widen_pipe; exec lz4 --stdout --quiet -1; } 2>"$run_directory"/send_0.1.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_2}"; } 2>>"$run_directory"/send_0.2.err |
    { widen_pipe; exec socat -u -b 262144 STDIN OPENSSL:"${peer_address}":"${port}",nodelay,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=target.0123456789abcdef; } 2>"$run_directory"/send_0.3.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_2}>&-
  wait "$process_2" || statuses[2]=$?
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
source_name=x
final_name=x
owner=''
create_target=no
prepare=no
own_name=target.0123456789abcdef
cores=4
transfer_type=file
encrypt=yes
checksum=no
priority=normal
declare -A watched_by=([none]=socat [zstd1]=socat [zstd3]=socat [lz41]=socat)
note_firewall_rules() {
  return 0
}
open_firewall() {
  return 0
}
receive_none() {
  exec {branch_1}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/receive.1.err)
  local process_1=$!
  metered receive socat -u -b 262144 OPENSSL-LISTEN:"${port}",pf=ip4,reuseaddr,range=198.18.0.1/32,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=source.0123456789abcdef STDOUT 2>"$run_directory"/receive.0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/receive.1.err |
    { widen_pipe; tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore --keep-old-files -b 256 --file=- && cat >/dev/null; } 2>"$run_directory"/receive.2.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
receive_zstd1() {
  exec {branch_1}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/receive.1.err)
  local process_1=$!
  metered receive socat -u -b 262144 OPENSSL-LISTEN:"${port}",pf=ip4,reuseaddr,range=198.18.0.1/32,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=source.0123456789abcdef STDOUT 2>"$run_directory"/receive.0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/receive.1.err |
    { widen_pipe; exec zstd --decompress --stdout; } 2>"$run_directory"/receive.2.err |
    { widen_pipe; tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore --keep-old-files -b 256 --file=- && cat >/dev/null; } 2>"$run_directory"/receive.3.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
receive_zstd3() {
  exec {branch_1}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/receive.1.err)
  local process_1=$!
  metered receive socat -u -b 262144 OPENSSL-LISTEN:"${port}",pf=ip4,reuseaddr,range=198.18.0.1/32,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=source.0123456789abcdef STDOUT 2>"$run_directory"/receive.0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/receive.1.err |
    { widen_pipe; exec zstd --decompress --stdout; } 2>"$run_directory"/receive.2.err |
    { widen_pipe; tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore --keep-old-files -b 256 --file=- && cat >/dev/null; } 2>"$run_directory"/receive.3.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
receive_lz41() {
  exec {branch_1}> >({ widen_pipe; exec xxh128sum; } >"${run_directory}"/stream.digest 2>"$run_directory"/receive.1.err)
  local process_1=$!
  metered receive socat -u -b 262144 OPENSSL-LISTEN:"${port}",pf=ip4,reuseaddr,range=198.18.0.1/32,cert="${run_directory}"/certificate.pem,key="${run_directory}"/key.pem,cafile="${run_directory}"/peer.pem,verify=1,openssl-min-proto-version=TLS1.3,commonname=source.0123456789abcdef STDOUT 2>"$run_directory"/receive.0.err |
    { widen_pipe; exec perl -e "${perl_tee}" "${branch_1}"; } 2>>"$run_directory"/receive.1.err |
    { widen_pipe; exec lz4 --decompress --stdout; } 2>"$run_directory"/receive.2.err |
    { widen_pipe; tar --extract --preserve-permissions --same-owner --numeric-owner --acls --xattrs '--xattrs-include=*' --delay-directory-restore --keep-old-files -b 256 --file=- && cat >/dev/null; } 2>"$run_directory"/receive.3.err
  statuses=("${PIPESTATUS[@]}")
  exec {branch_1}>&-
  wait "$process_1" || statuses[1]=$?
}
prepare_copy() {
  return 0
}
target_session

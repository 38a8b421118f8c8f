# shellcheck shell=bash
# The first process of a host, in its own namespaces. It creates the file system of the host, starts sshd, and remains
# as the init of the host. It writes its process id, reads one line when the network of the host is ready, and writes
# "ready". Arguments: the name of the host, its directory, the checkout, the root directory of its system, three lists of
# directories, each as one word.
set -e
name=$1 directory=$2 checkout=$3 system=$4 overlaid=$5 on_disk=$6 in_memory=$7

read -r pid _ </proc/self/stat  # /proc is still the one of the machine, so this is the process id on the machine
echo "$pid"

mount --bind "$directory" /mnt  # keeps the directory reachable while its parents are replaced
mount --rbind "$checkout" /mnt/checkout
mount -t tmpfs -o mode=0755 lab /mnt/memory
for tree in $overlaid; do
    mkdir -p "/mnt/memory$tree/upper" "/mnt/memory$tree/work"
    mount -t overlay -o "lowerdir=${system%/}$tree,upperdir=/mnt/memory$tree/upper,workdir=/mnt/memory$tree/work" lab "$tree"
done
for private in $on_disk; do
    mkdir -p "$private" "/mnt/disk$private"
    mount --bind "/mnt/disk$private" "$private"
done
for private in $in_memory; do
    mkdir -p "$private"
    mount -t tmpfs -o mode=0755 lab "$private"
done
chmod 1777 /tmp /var/tmp /dev/shm
cp -a /mnt/seed/etc/. /etc/
cp -a /mnt/seed/root/. /root/
[ ! -d /mnt/seed/usr ] || cp -a /mnt/seed/usr/. /usr/
mkdir -p "$checkout" /run/sshd /run/lock /var/log/cumin
mount --rbind /mnt/checkout "$checkout"
umount -l /mnt
mount -t proc proc /proc
hostname "$name"
for scope in all default; do
    echo 0 >"/proc/sys/net/ipv6/conf/$scope/accept_dad"  # addresses are usable immediately
done

read -r _
: >/run/xtables.lock  # the first call of iptables would create it, after the first snapshot
/usr/sbin/sshd
for ((tries = 0; tries < 1000; tries++)); do
    [ ! -e /run/sshd.pid ] || break
    sleep 0.005
done
[ -e /run/sshd.pid ]
echo ready
# If SIGCHLD is ignored, the kernel reaps the orphans that become children of this process.
exec env --ignore-signal=CHLD --ignore-signal=HUP sleep infinity </dev/null >/dev/null 2>&1

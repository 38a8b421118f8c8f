"""The programs that a transfer runs on hosts, and the Debian packages that contain them."""

from transferpy.MariaDB import BACKUP_TOOLS, CLIENTS, UNPACK_TOOLS

# Beside what every Debian system has (coreutils, findutils, gzip, util-linux, libc-bin).
TOOLS = (
    *BACKUP_TOOLS,
    *UNPACK_TOOLS,
    *CLIENTS,
    *("gzip", "pigz", "zstd", "lz4", "xz"),
    *("md5sum", "sha256sum", "xxh128sum", "b3sum"),
    *("tar", "socat", "openssl", "ss", "netstat", "ip", "flock", "awk", "cmp", "getent", "perl"),
)
PACKAGES = {
    "b3sum": "b3sum",
    "awk": "mawk",
    "cmp": "diffutils",
    "flock": "util-linux",
    "getent": "libc-bin",
    "gzip": "gzip",
    "ip": "iproute2",
    "iptables": "iptables",
    "md5sum": "coreutils",
    "nft": "nftables",
    "openssl": "openssl",
    "perl": "perl-base",
    "pigz": "pigz",
    "socat": "socat",
    "lz4": "lz4",
    "tar": "tar",
    "xz": "xz-utils",
    "zstd": "zstd",
    "xxh128sum": "xxhash",
}
NETCATS = ("nc", "nc.openbsd", "ncat", "nc.traditional", "netcat")

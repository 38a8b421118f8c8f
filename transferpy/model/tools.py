"""The programs that a transfer runs on hosts, and the Debian packages that contain them."""

from transferpy.MariaDB import BACKUP_TOOLS, CLIENTS, UNPACK_TOOLS
from transferpy.model.codecs import programs
from transferpy.model.digests import ALGORITHMS

# Beside what every Debian system has (coreutils, findutils, gzip, util-linux, libc-bin).
TOOLS = (
    *BACKUP_TOOLS,
    *UNPACK_TOOLS,
    *CLIENTS,
    *(program.name for program in programs()),
    *(row.argv[0] for row in ALGORITHMS.values()),
    *("tar", "socat", "openssl", "ss", "netstat", "ip", "flock", "awk", "cmp", "getent", "perl"),
)
PACKAGES = {
    **{program.name: program.package for program in programs()},
    **{row.argv[0]: row.package for row in ALGORITHMS.values()},
    "awk": "mawk",
    "cmp": "diffutils",
    "flock": "util-linux",
    "getent": "libc-bin",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "openssl": "openssl",
    "perl": "perl-base",
    "socat": "socat",
    "tar": "tar",
}
NETCATS = ("nc", "nc.openbsd", "ncat", "nc.traditional", "netcat")

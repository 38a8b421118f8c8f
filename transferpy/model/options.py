"""What a run is asked to do: options, locations and the request, checked once, when they are made.

Nothing downstream of this module reads a dict or checks one of these values again. Nothing here touches a host, a file
or the log.
"""

import re
from collections.abc import Mapping
from configparser import ConfigParser
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from transferpy.Exceptions import UsageError

OptionValue = bool | int | str

XTRABACKUP_OPTIONS = ("stop_slave", "prepare", "defaults_file")
"""Options without a meaning for the other types."""


class TransferType(StrEnum):
    """What is copied, and how it lands on the target."""

    FILE = "file"
    XTRABACKUP = "xtrabackup"
    DECOMPRESS = "decompress"


class FirewallChoice(StrEnum):
    """Which firewall of the target is opened for the stream; AUTO finds out there."""

    AUTO = "auto"
    IPTABLES = "iptables"
    NFTABLES = "nftables"
    NONE = "none"


class Compressor(StrEnum):
    """What compresses the stream; AUTO finds out what is fastest."""

    AUTO = "auto"
    ZSTD = "zstd"
    PIGZ = "pigz"
    LZ4 = "lz4"


class ChecksumAlgorithm(StrEnum):
    """What the data is compared by; AUTO takes the fastest that the hosts have."""

    AUTO = "auto"
    MD5 = "md5"
    SHA256 = "sha256"
    XXH128 = "xxh128"
    B3 = "b3"


class Priority(StrEnum):
    """How much the hosts' other work is to notice of a run."""

    NORMAL = "normal"
    LOW = "low"


_CHOICES: dict[str, type[StrEnum]] = {
    "transfer_type": TransferType,
    "firewall": FirewallChoice,
    "compressor": Compressor,
    "checksum_algorithm": ChecksumAlgorithm,
    "priority": Priority,
}
_TEXTS = {
    "defaults_file": ("an absolute path", re.compile(r"(/[^\0\n]*)?")),
    **dict.fromkeys(("report", "metrics", "log_file"), ("the name of a file", re.compile(r"[^\0\n]*"))),
    "owner": ("USER or USER:GROUP", re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?)?")),
}
# Seconds up to one day: a host that was not met, or a stream that has not moved, for longer has failed.
_NUMBERS = {
    "port": range(65536),
    "connect_timeout": range(1, 86401),
    "idle_timeout": range(1, 86401),
    "compress_level": range(20),
    "compress_threads": range(1025),
}
_LEVELS = {Compressor.ZSTD: 19, Compressor.PIGZ: 9, Compressor.LZ4: 12}
_RATES = ("bwlimit",)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_LARGEST_RATE = 1 << 50


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """The options of one run, typed and consistent; a UsageError names the option and the value that are not.

    Each value may also be given as the text that stands for it in the configuration file.

    Attributes:
        port: TCP port on the target, 0 to find a free one there.
        transfer_type: what is copied.
        compress: whether the stream is compressed.
        encrypt: whether the stream is encrypted.
        checksum: whether every file on the target is compared with the source.
        parallel_checksum: whether the stream is compared at both ends; always False when checksum is on.
        stop_slave: whether replication is stopped around the backup; an error with another type than xtrabackup.
        verbose: whether every remote command and its output are logged.
        firewall: which firewall of the target is opened.
        connect_timeout: seconds until source and target must have met.
        idle_timeout: seconds without a byte moving after which the stream has failed.
        defaults_file: on the source, a file with which the tools of the database log in; empty for root by the socket.
        prepare: whether the hot copy is made ready to start on each target.
        owner: USER or USER:GROUP, known on the target, to own all that arrives; empty to keep the owners.
        compressor: what compresses, if compress is on.
        compress_level: of that compressor, from its fastest to its smallest; 0 for the one that serves speed.
        compress_threads: how many it may use; 0 for as many as there are processors.
        checksum_algorithm: what data is compared by.
        bwlimit: bytes that may leave the source in a second, 0 for no limit; in text K is 1024 of them, and so on.
        priority: whether everything on the hosts steps back behind their other work.
        create_target: whether a target directory that is missing is made.
        dry_run: whether the hosts are only asked, and nothing is copied.
        quiet: whether the console gets errors only. This and what follows is for ``transfer.py`` itself, as verbose is.
        report: file that gets the report as JSON, ``-`` for standard output, empty for none.
        metrics: file that gets metrics for Prometheus, empty for none.
        log_file: file that gets the log lines too, empty for none.
        syslog: whether the system's log gets the log lines too.
    """

    port: int = 0
    transfer_type: TransferType = TransferType.FILE
    compress: bool = True
    compressor: Compressor = Compressor.AUTO
    compress_level: int = 0
    compress_threads: int = 0
    encrypt: bool = True
    checksum: bool = True
    parallel_checksum: bool = False
    checksum_algorithm: ChecksumAlgorithm = ChecksumAlgorithm.AUTO
    stop_slave: bool = False
    priority: Priority = Priority.NORMAL
    verbose: bool = False
    firewall: FirewallChoice = FirewallChoice.AUTO
    bwlimit: int = 0
    connect_timeout: int = 60
    idle_timeout: int = 300
    defaults_file: str = ""
    prepare: bool = False
    owner: str = ""
    create_target: bool = False
    dry_run: bool = False
    quiet: bool = False
    report: str = ""
    metrics: str = ""
    log_file: str = ""
    syslog: bool = False

    def __post_init__(self) -> None:
        for name in OPTION_NAMES:
            object.__setattr__(self, name, typed_option(name, getattr(self, name)))
        if self.checksum:
            object.__setattr__(self, "parallel_checksum", False)
        if self.transfer_type is not TransferType.FILE:
            object.__setattr__(self, "checksum", False)
        highest = _LEVELS.get(self.compressor)
        if self.compress_level and highest is None:
            raise UsageError("compress_level goes with a compressor of your choice, as each has levels of its own")
        if highest is not None and self.compress_level > highest:
            raise UsageError(f"compress_level of {self.compressor} is at most {highest}, not {self.compress_level}")
        for name in XTRABACKUP_OPTIONS:
            if getattr(self, name) and self.transfer_type is not TransferType.XTRABACKUP:
                raise UsageError(f"{name} goes with transfer_type xtrabackup only, not with {self.transfer_type}")


OPTION_NAMES = tuple(field.name for field in fields(TransferOptions))


def typed_option(name: str, value: object) -> OptionValue:
    """Return the value of the option ``name`` in its type, from that type or from text; UsageError if it is neither."""
    text = str(value).strip() if isinstance(value, int | str) else ""
    found: OptionValue | None
    if name in _CHOICES:
        expected = "one of " + ", ".join(_CHOICES[name])
        found = next((choice for choice in _CHOICES[name] if value == choice), None)
    elif name in _NUMBERS:
        numbers = _NUMBERS[name]
        expected = f"a whole number from {numbers[0]} to {numbers[-1]}"
        found = int(text) if re.fullmatch("[0-9]{1,9}", text) and int(text) in numbers else None
    elif name in _RATES:
        expected = "a number of bytes per second, as 500K, 20M or 1.5G"
        found = _rate(text.lower())
    elif name in _TEXTS:
        expected, pattern = _TEXTS[name]
        found = value if isinstance(value, str) and pattern.fullmatch(value) else None
    else:
        expected = "true or false"
        found = ConfigParser.BOOLEAN_STATES.get(text.lower())
    if found is None:
        raise UsageError(f"{name} must be {expected}, not {value!r}")
    return found


def _rate(text: str) -> int | None:
    """Return the bytes per second that text means, None if it means none; units as those of rsync, K is 1024."""
    matched = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kmgt]?)(?:i?b)?", text)
    if not matched:
        return None
    rate = int(float(matched[1]) * _UNITS[matched[2]])
    # Less than one byte is not nothing.
    return rate if rate <= _LARGEST_RATE and (rate or not float(matched[1])) else None


def known_options(values: Mapping[str, object]) -> dict[str, Any]:
    """Return a copy of ``values`` with ``type`` as ``transfer_type``; UsageError for a key that is no option.

    Where both names are there, ``type`` wins: programs set it on top of what they read from the configuration file,
    where the key is ``transfer_type``.
    """
    named = dict(values)
    if "type" in named:
        named["transfer_type"] = named.pop("type")
    for name in named:
        if name not in OPTION_NAMES:
            raise UsageError(f"unknown option {name!r}; the options are {', '.join(OPTION_NAMES)}")
    return named


def options_from_mapping(values: Mapping[str, object]) -> TransferOptions:
    """Return the options of ``values``, which may hold but a few; UsageError if one is wrong or unknown."""
    return TransferOptions(**known_options(values))


UNCOMPRESSED = "none"
"""The label of a stream that is not compressed."""

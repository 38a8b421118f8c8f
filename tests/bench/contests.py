"""The contests as data: contenders, data sets, links and bounds. Nothing here needs a host."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .stages import OneStage, stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set.

    Attributes:
        words: the description, with a placeholder for the amount.
        full: the amount for which the bounds are set: MiB, or the number of small files.
        quick: the amount for a test of the benchmark itself.
    """

    words: str
    full: int
    quick: int


DATA = {
    "tables": Data(words="{:,} MiB like database tables, which gzip halves", full=1024, quick=64),
    "half": Data(words="{:,} MiB like database tables, which gzip halves", full=512, quick=80),
    "noise": Data(words="{:,} MiB in files that nothing compresses", full=1024, quick=64),
    "files": Data(words="{:,} files of 1 KiB of text", full=200_000, quick=5_000),
    "huge": Data(words="one file of {:,} MiB like a database table", full=8192, quick=128),
    "sparse": Data(words="a sparse file of {:,} MiB with 10 MiB in it", full=102_400, quick=1024),
    "three": Data(words="a file of {} bytes", full=3, quick=3),
    "server": Data(words="a running server of {:,} MiB, which gzip halves", full=1024, quick=64),
}

RATES = {"unshaped": 0, "1gbit": 1_000_000_000, "200mbit": 200_000_000}
"""The rate of the link of the source in bits per second, by its name in tc; 0 without limit."""

DELAYS = {"35ms": 0.035, "70ms": 0.07}
"""The round-trip time between source and target in seconds, on links that are not shaped."""

EACH = {"100mbit-each": "100mbit"}
"""The rate of each connection, by tc, on links that are not shaped as a whole."""

LINKS = (*RATES, *DELAYS, *EACH)

LINK_WORDS = {
    "unshaped": "unshaped",
    "1gbit": "1 Gbit/s",
    "200mbit": "200 Mbit/s",
    "35ms": "35 ms round trip",
    "70ms": "70 ms round trip",
    "100mbit-each": "100 Mbit/s for each connection",
}


@dataclass(frozen=True)
class Transfer:
    """transfer.py with these options.

    Attributes:
        damaged: if true, tar on the target changes every file after it wrote the file.
        outage: the seconds without a network between source and target, soon after the start of the stream.
    """

    options: str = ""
    damaged: bool = False
    outage: float = 0.0


@dataclass(frozen=True)
class OnSource:
    """A command on the source that connects to the target over ssh; placeholders: {name}, {target}."""

    command: str


@dataclass(frozen=True)
class OnBoth:
    """A command on the target, then a command on the source; placeholders: {name}, {address}, {port}."""

    sending: str
    receiving: str


@dataclass(frozen=True)
class OnOrchestrator:
    """A command on the orchestration host."""

    command: str


@dataclass(frozen=True)
class Comparison:
    """A comparison with the fastest of some other contenders.

    Attributes:
        limit: the maximum of the ratio, or None.
        more: instead of it, the maximum of the difference in seconds.
    """

    others: tuple[str, ...]
    limit: float | None = None
    more: float | None = None

    def limit_at(self, seconds: float) -> float | None:
        """Return the maximum of the ratio to a contender that took so many seconds; None without a bound."""
        return self.limit if self.more is None else 1 + self.more / seconds


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A contender; ``once`` means a single round, because more rounds give no new information."""

    name: str
    way: Transfer | OnSource | OnBoth | OnOrchestrator | OneStage
    against: tuple[Comparison, ...] = ()
    once: bool = False


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One data set on one link, with its contenders.

    Attributes:
        watched: if true, the memory of the processes on the hosts is measured too, which costs a little time.
        metered: if true, the processor time of each end is measured too.
    """

    contest: str
    data: str
    link: str
    contenders: tuple[Contender, ...]
    watched: bool = False
    metered: bool = False

    def __str__(self) -> str:
        return f"{self.contest}, {self.data}, {self.link}"


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A contest: contenders for several data sets and several links."""

    name: str
    contenders: Callable[[str, str], tuple[Contender, ...]]
    data: tuple[str, ...] = ("tables",)
    links: tuple[str, ...] = ("unshaped",)
    watched: bool = field(default=False)
    metered: bool = field(default=False)

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, ordered by data set, because a change of the data set takes longest."""
        for data in self.data:
            for link in self.links:
                contenders = self.contenders(data, link)
                yield Cell(
                    contest=self.name,
                    data=data,
                    link=link,
                    contenders=contenders,
                    watched=self.watched,
                    metered=self.metered,
                )


ALL_DEFAULTS = "all defaults"
_RSYNC = "rsync -a"
_BY_HAND = "tar | nc"
_BACKUP_BY_HAND = "mariadb-backup | socat"
_PLAIN = "--no-encrypt --no-compress --no-checksum"
_PLAIN_BACKUP = "--type xtrabackup --no-encrypt --no-compress"
_CUMIN = "cumin --force db1,db2 true"

FIXED = ("--compressor zstd", "--compressor lz4", "--compressor pigz", "--no-compress")
"""The fixed choices of a compressor, as alternatives to the automatic choice."""
ALGORITHMS = ("md5", "sha256", "xxh128", "b3")

WHOLE_STREAMS = ("--no-compress", "--no-compress --no-encrypt", "--compressor zstd", "--compressor lz4")
"""The streams whose processor time is measured as a whole."""

_AUTO_LIMIT = 1.15
_SMALL_FILES_LIMIT = 0.8
_RSYNC_LIMITS = {
    ("tables", "unshaped"): 1.0,
    ("tables", "1gbit"): 0.7,
    ("tables", "200mbit"): 0.6,
    ("files", "unshaped"): _SMALL_FILES_LIMIT,
}
_CHECKSUM_LIMITS = {"unshaped": 1.3, "1gbit": 1.1}
_PARALLEL_CHECKSUM_LIMIT = 1.1
_STREAMS_LIMIT = 1 / 3.4
_OUTAGE, _OUTAGE_COST = 10.0, 20.0
_WAN_LIMIT, _WAN_DEFAULTS_LIMIT = 0.35, 0.4

# The commands that an administrator types on the source, and on the target if needed.
_TAR_TO_NC = OnBoth("tar cf - {name} | nc -N {address} {port}", "nc -4 -l {port} | tar xf -")
_HANDMADE = (
    Contender(name=_RSYNC, way=OnSource("rsync -a {name} {target}:/srv/copy/")),
    # This contender also ends only when all data is on disk, like transfer.py.
    Contender(
        name=f"{_RSYNC}, sync", way=OnSource("rsync -a {name} {target}:/srv/copy/ && ssh {target} sync -f /srv/copy")
    ),
    Contender(name=_BY_HAND, way=_TAR_TO_NC),
    Contender(
        name="tar | zstd | nc",
        way=OnBoth("tar cf - {name} | zstd -q -T0 | nc -N {address} {port}", "nc -4 -l {port} | zstd -q -d | tar xf -"),
    ),
    Contender(name="tar | ssh", way=OnSource("tar cf - {name} | ssh {target} 'tar xf - -C /srv/copy'")),
    Contender(
        name="tar | zstd | ssh",
        way=OnSource("tar cf - {name} | zstd -q -T0 | ssh {target} 'zstd -q -d | tar xf - -C /srv/copy'"),
    ),
    Contender(name="scp -r", way=OnSource("scp -q -r {name} {target}:/srv/copy/")),
)


def _ours(options: str = "", *against: Comparison) -> Contender:
    return Contender(name=options or ALL_DEFAULTS, way=Transfer(options), against=against)


def _peers(data: str, link: str) -> tuple[Contender, ...]:
    against = Comparison((_RSYNC,), _RSYNC_LIMITS.get((data, link))), Comparison(FIXED, _AUTO_LIMIT)
    return (_ours("", *against), *map(_ours, FIXED), *_HANDMADE)


def _checksums(_data: str, link: str) -> tuple[Contender, ...]:
    none = ("--no-checksum",)
    return (
        _ours(*none),
        _ours("--parallel-checksum", Comparison(none, _PARALLEL_CHECKSUM_LIMIT)),
        _ours("", Comparison(none, _CHECKSUM_LIMITS[link])),
        *(_ours(f"--checksum-algorithm {algorithm}", Comparison(none)) for algorithm in ALGORITHMS),
    )


def _shapes(data: str, _link: str) -> tuple[Contender, ...]:
    rsync = _HANDMADE[0]
    if data == "sparse":  # rsync would send the holes as zeros
        by_hand = Contender(
            name="tar -S | nc", way=OnBoth(_TAR_TO_NC.sending.replace("cf", "cSf"), _TAR_TO_NC.receiving)
        )
        return _ours("", Comparison((by_hand.name,))), by_hand
    if data == "huge":
        return _ours("", Comparison((rsync.name,))), rsync
    damaged = Contender(name=f"{ALL_DEFAULTS}, but each file differs", way=Transfer(damaged=True), once=True)
    return _ours("", Comparison((rsync.name,), _SMALL_FILES_LIMIT)), rsync, damaged


def _wan(_data: str, _link: str) -> tuple[Contender, ...]:
    rsync = _HANDMADE[0]
    return (
        _ours("--no-compress", Comparison((rsync.name,), _WAN_LIMIT)),
        _ours("", Comparison((rsync.name,), _WAN_DEFAULTS_LIMIT)),
        rsync,
    )


def _streams(_data: str, _link: str) -> tuple[Contender, ...]:
    one, four = "--streams 1 --no-compress", "--streams 4 --no-compress"
    return _ours(one), _ours(four, Comparison((one,), _STREAMS_LIMIT))


def _outages(data: str, _link: str) -> tuple[Contender, ...]:
    options = "--type xtrabackup --no-compress" if data == "server" else "--no-compress"
    interrupted = Contender(
        name=f"{options}, {_OUTAGE:g} s without a network",
        way=Transfer(options, outage=_OUTAGE),
        against=(Comparison((options,), more=_OUTAGE_COST),),
    )
    return _ours(options), interrupted


def _stream(_data: str, _link: str) -> tuple[Contender, ...]:
    return (
        Contender(name=_BY_HAND, way=_TAR_TO_NC),
        _ours(_PLAIN, Comparison((_BY_HAND,), 1.3)),
        _ours("--no-compress --no-checksum", Comparison((_PLAIN,), 1.5), Comparison((_BY_HAND,))),
    )


def _stages(data: str, _link: str) -> tuple[Contender, ...]:
    alone = (Contender(name=name, way=stage) for name, stage in stages(data))
    return (*alone, *map(_ours, WHOLE_STREAMS))


def _small(_data: str, _link: str) -> tuple[Contender, ...]:
    return Contender(name=_CUMIN, way=OnOrchestrator(_CUMIN)), _ours("", Comparison((_CUMIN,), 3.0))


def _backup(_data: str, _link: str) -> tuple[Contender, ...]:
    by_hand = OnBoth(
        "mariadb-backup --no-defaults --backup --stream=xbstream --socket={name} 2>/root/backup.log"
        " | socat -u STDIN TCP:{address}:{port}",
        "socat -u TCP-LISTEN:{port},reuseaddr STDOUT | mbstream -x",
    )
    return (
        Contender(name=_BACKUP_BY_HAND, way=by_hand),
        _ours(_PLAIN_BACKUP, Comparison((_BACKUP_BY_HAND,), 1.2)),
        _ours("--type xtrabackup --no-compress", Comparison((_BACKUP_BY_HAND,))),
        _ours("--type xtrabackup", Comparison((_BACKUP_BY_HAND,))),
    )


CONTESTS = {
    contest.name: contest
    for contest in (
        Contest(name="stream", contenders=_stream),
        Contest(name="checksums", contenders=_checksums, links=("unshaped", "1gbit")),
        Contest(name="peers", contenders=_peers, data=("tables", "noise", "files"), links=tuple(RATES)),
        Contest(name="shapes", contenders=_shapes, data=("files", "huge", "sparse"), watched=True),
        Contest(name="wan", contenders=_wan, data=("half",), links=tuple(DELAYS)),
        Contest(name="stages", contenders=_stages, metered=True),
        Contest(name="streams", contenders=_streams, data=("noise",), links=tuple(EACH)),
        Contest(name="outages", contenders=_outages, data=("noise", "server"), links=("200mbit",)),
        Contest(name="small", contenders=_small, data=("three",)),
        Contest(name="backup", contenders=_backup, data=("server",)),
    )
}


class SelectionError(Exception):
    """The command line selects an unknown name, or no cell."""


def select(
    *, contests: Iterable[str] = (), data: Iterable[str] = (), links: Iterable[str] = (), contenders: Iterable[str] = ()
) -> list[Cell]:
    """Return the cells of these contests, data sets and links; an empty argument selects all.

    ``contenders`` are parts of names of contenders. Raises SelectionError for an unknown name, and for an empty
    selection.
    """
    for kind, names, known in (
        ("contest", contests, list(CONTESTS)),
        ("data set", data, list(DATA)),
        ("link", links, list(LINKS)),
    ):
        if wrong := sorted(set(names) - set(known)):
            raise SelectionError(f"there is no {kind} {', '.join(wrong)}, only {', '.join(known)}")
    cells = [
        cell
        for contest in CONTESTS.values()
        if contest.name in (contests or CONTESTS)
        for cell in contest.cells()
        if cell.data in (data or DATA) and cell.link in (links or LINKS)
    ]
    cells = [chosen for cell in cells if (chosen := _only(cell, tuple(contenders))).contenders]
    if not cells:
        raise SelectionError("no contest matches the whole selection")
    return cells


def _only(cell: Cell, parts: tuple[str, ...]) -> Cell:
    chosen = (one for one in cell.contenders if not parts or any(part in one.name for part in parts))
    return replace(cell, contenders=tuple(chosen))

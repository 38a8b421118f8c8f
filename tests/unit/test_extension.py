"""A row of a table is enough for a codec and for a digest algorithm: everything else derives from it."""

import re

import pytest
from fleet import RUN, answers, request, source_facts, source_host, target_host
from option_files import ROOT, written_files

from transferpy.agent.preflight import PreflightQuery, preflight_script
from transferpy.cli.arguments import argument_parser
from transferpy.Exceptions import UsageError
from transferpy.Firewall import firewall_backend
from transferpy.model.codecs import CODECS, CodecRow, Program
from transferpy.model.digests import ALGORITHMS, Algorithm
from transferpy.model.options import FIREWALL_BACKENDS, TransferOptions, options_from_mapping
from transferpy.model.tools import packages
from transferpy.planning.dry_run import dry_run_lines
from transferpy.planning.planner import make_plan
from transferpy.stream.tar import decompressors
from transferpy.transfer import CONFIG_FILE

MAGIC = b"BROTLI"
PROGRAM = Program(name="brotli", package="brotli", arguments=("--stdout", "--quality={level}"), rate=50e6)
CODEC = CodecRow(name="brotli", magic=MAGIC, programs=(PROGRAM,), highest_level=11, automatic_levels=(4,))
ALGORITHM = Algorithm(name="sha512", argv=("sha512sum", "--text"), package="coreutils")


@pytest.fixture
def brotli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CODECS, "brotli", CODEC)


@pytest.fixture
def sha512(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ALGORITHMS, "sha512", ALGORITHM)


def texts_with(word: str) -> set[str]:
    """Return the texts that offer the values of an option to users, and that have ``word``."""
    texts = {"help": argument_parser(CONFIG_FILE).format_help()}
    texts |= {path.name: text for path, text in written_files()}
    return {name for name, text in texts.items() if word in text}


def queried_tools() -> list[str]:
    """Return the tools that the preflight looks for."""
    return preflight_script(RUN, PreflightQuery()).partition("\nhost_facts ")[2].partition("\n")[0].split()


def dry_run(*, lacking: str = "", **options: object) -> tuple[str, tuple[str, ...]]:
    """Return the lines and the notes of a dry run between hosts that have all tools, or lack one."""
    source = source_host(source=source_facts(bytes=1 << 30))
    hosts = answers(source, target_host(tools=source.tools - {lacking}))
    plan = make_plan(request("db1:/srv/x", "db2:/srv/y", **options), hosts, RUN, {})
    return "\n".join(dry_run_lines(plan, hosts)), plan.notes


ALL_TEXTS = {"help", "transferpy.conf", "transfer.py.bash", "_transfer_py"}


@pytest.mark.usefixtures("brotli")
class TestCodec:
    def test_users_can_choose_it(self) -> None:
        assert texts_with("brotli") == ALL_TEXTS
        assert options_from_mapping({"compressor": "brotli", "compress_level": "11"}).compress_level == 11
        with pytest.raises(UsageError, match="must be at most 11 for brotli"):
            TransferOptions(compressor="brotli", compress_level=12)

    def test_the_preflight_looks_for_it(self) -> None:
        assert "brotli" in queried_tools()

    def test_a_dry_run_shows_its_commands_and_its_time(self) -> None:
        lines, notes = dry_run(compressor="brotli")
        assert "| brotli --stdout --quality=1 |" in lines
        assert "| brotli --decompress --stdout |" in lines
        assert "estimate: 21.5 s a target" in lines
        assert notes == ()

    def test_it_can_be_chosen_during_the_run(self) -> None:
        lines, _ = dry_run()
        assert "compression: auto, one of zstd -1, zstd -3, lz4 -1, brotli -4, none, chosen during the run" in lines

    def test_a_host_may_lack_it(self) -> None:
        _, notes = dry_run(compressor="brotli", lacking="brotli")
        assert notes == ("db2: brotli is missing (Debian package brotli); pigz is used instead",)

    def test_it_decompresses_tarballs(self) -> None:
        assert decompressors(MAGIC) == (PROGRAM,)


@pytest.mark.usefixtures("sha512")
class TestAlgorithm:
    def test_users_can_choose_it(self) -> None:
        assert texts_with("sha512") == ALL_TEXTS
        assert options_from_mapping({"checksum_algorithm": "sha512"}).checksum_algorithm == "sha512"

    def test_the_preflight_looks_for_it(self) -> None:
        assert "sha512sum" in queried_tools()

    def test_a_dry_run_shows_it(self) -> None:
        lines, notes = dry_run(checksum_algorithm="sha512")
        assert "(TLS 1.3, sha512 of every file)" in lines
        assert notes == ()
        lines, _ = dry_run(checksum_algorithm="sha512", checksum=False, parallel_checksum=True)
        assert lines.count("tee >(sha512sum --text >") == 2

    def test_a_host_may_lack_it(self) -> None:
        _, notes = dry_run(checksum_algorithm="sha512", lacking="sha512sum")
        assert notes == ("db2: sha512sum is missing (Debian package coreutils); xxh128 is used instead",)


PART_OF_DEBIAN = {"tar", "util-linux", "mawk", "diffutils", "coreutils", "libc-bin", "perl-base", "gzip"}
ALTERNATIVES = {"net-tools"}


def test_the_debian_package_for_hosts_names_the_package_of_every_tool() -> None:
    stanza = (
        (ROOT / "debian/control").read_text().partition("Package: transferpy-host\n")[2].partition("Description:")[0]
    )
    firewalls = {firewall_backend(name).PACKAGE for name in FIREWALL_BACKENDS}
    needed = {*packages().values(), *firewalls} - {"", *PART_OF_DEBIAN, *ALTERNATIVES}
    assert sorted(needed - set(re.findall(r"[\w-]+", stanza))) == []

"""Runs the commands of the manual in the lab and checks their effects; test_runbooks.py runs the runbooks."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from helpers import SYSTEM_PYTHON
from lab import CHECKOUT, Lab, LabError
from lab.lab import running_labs
from pages import blocks, literals, typed_by_tests
from typist import install_command, type_section

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab


@pytest.fixture
def named_labs() -> Iterator[None]:
    """Remove the labs of the pages after a failure."""
    before = running_labs()
    yield
    for name in {"tutorial", "two"} & set(running_labs()) - set(before):
        with suppress(LabError):
            Lab.attach(name).down()


@pytest.fixture
def equipped(clean_lab: Lab) -> Iterator[Lab]:
    """The default lab, with transfer.py on its orchestration host."""
    install_command(clean_lab)
    yield clean_lab
    clean_lab["orch"].run("rm -rf /usr/local/bin/transfer.py /etc/transferpy/transferpy.conf")


def without_amounts(line: str) -> str:
    """Return a line without its date, and with N in place of numbers that differ between machines."""
    return re.sub(r"[\d.]+ ([kMG]?B|s\b)|(?<!db)\d[\d.]*", "N", re.sub(r"^[-\d]+ [:\d]+ ", "", line)).rstrip()


@pytest.mark.usefixtures("named_labs")
def test_the_tutorial_shows_the_output_of_its_commands() -> None:
    seen: list[str] = []

    def typing(title: str) -> str:
        seen.append(type_section("tutorial", title, lambda name: Lab.attach("tutorial")[name]))
        return seen[-1]

    see, hosts, ask, copy, refuses, stopped, programs, end = typed_by_tests("tutorial")
    assert typing(see).endswith("\nAll checks passed.\n")
    assert "db2             198.18.0.13     fd00:1ab::13         firewall: nftables\n" in typing(hosts)
    asked = typing(ask)
    assert "firewall: nft insert rule " in asked
    assert "db3:/srv/data:\n" in asked
    copied = typing(copy)
    assert "INFO  db2:/srv/data: complete\n" in copied
    assert "INFO  2 of 2 target(s) succeeded in " in copied
    assert "tcp dport 44" not in copied
    refused = typing(refuses)
    assert "ERROR db2:/srv/data: exists already; nothing is ever overwritten\n" in refused
    assert refused.endswith("\nexit status 4\n")
    interrupted, _, left = typing(stopped).partition("exit status 130\n")
    assert "WARNING SIGINT: stopping the run and cleaning up\n" in interrupted
    assert "ERROR ended by SIGINT\n" in interrupted
    assert left == "/srv/data\n"
    assert '"status": 0' in typing(programs)
    typing(end)
    assert "tutorial" not in running_labs()
    lines = {without_amounts(line) for line in "".join(seen).splitlines()}
    assert [line for line in literals("tutorial") if line != "..." and without_amounts(line) not in lines] == []


def test_the_commands_of_the_page_on_networks_work_through_firewalls(equipped: Lab) -> None:
    wrote: dict[str, str] = {}
    for title in typed_by_tests("networks"):
        if title == "Hosts without socat":
            equipped["db3"].hide("socat")
        wrote[title] = type_section("networks", title, equipped.__getitem__)
    assert "nft insert rule inet filter input ip6 saddr fd00:1ab::12 tcp dport " in wrote["What a transfer needs"]
    assert "port 4444 listens for db1, firewall opened" in wrote["A firewall between the hosts"]
    assert "port 4444 listens for db1" in wrote["A firewall that transferpy must not change"]
    assert "firewall opened" not in wrote["A firewall that transferpy must not change"]
    assert "INFO  [fd00:1ab::13]:/srv/third/data: complete" in wrote["IPv6"]
    assert "INFO  198.18.0.13:/srv/fourth/data: complete" in wrote["IPv6"]
    assert "INFO  db3:/srv/data: complete" in wrote["Hosts without socat"]
    assert "INFO  db2:/srv/fifth/data: complete" in wrote["Slow and shared links"]
    handles = "nft -a list ruleset | sed -n 's/.*4444.*handle //p'"
    equipped["db2"].run(f"for handle in $({handles}); do nft delete rule inet filter input handle $handle; done")


def test_the_page_on_networks_shows_the_message_for_a_missing_socat(equipped: Lab) -> None:
    equipped["db1"].run("mkdir /srv/data")
    equipped["db3"].hide("socat")
    reported = equipped["orch"].run("transfer.py db1:/srv/data db3:/srv 2>&1", check=False)
    assert reported.returncode == 4
    assert b"ERROR db3: socat is missing (Debian package socat)" in reported.stdout


@pytest.mark.parametrize("page", ["configuration", "installation", "operating"])
def test_the_commands_of_other_pages_work(equipped: Lab, page: str) -> None:
    equipped["db1"].run("mkdir /srv/data /srv/x && touch /srv/x/a")
    sections = typed_by_tests(page)
    assert sections
    for title in sections:
        type_section(page, title, equipped.__getitem__)


@pytest.mark.usefixtures("named_labs")
def test_the_commands_of_the_page_for_developers_work(equipped: Lab) -> None:
    for title in typed_by_tests("contributing"):
        assert type_section("contributing", title, equipped.__getitem__)


def test_the_programs_of_the_page_on_python_copy(equipped: Lab) -> None:
    equipped["db1"].run("mkdir /srv/data && touch /srv/data/a")
    programs = [block.text for block in blocks("python") if block.language == "python"]
    assert len(programs) == 2
    for program in programs:
        equipped["orch"].run(
            f"PYTHONPATH={CHECKOUT} PYTHONDONTWRITEBYTECODE=1 {SYSTEM_PYTHON} -", input=program.encode()
        )
    for host in ("db2", "db3"):
        assert equipped[host].sh("ls /srv/data") == "a"

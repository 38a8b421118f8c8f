"""What the tests share: the lab, and what to do where it cannot be made."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from lab import Lab, difference

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTLING_SECONDS = 5.0
_left_out = 0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lab: needs the lab of namespaces, and so root")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without root leave out what needs the lab; what uses a lab fixture is marked by that alone."""
    global _left_out  # noqa: PLW0603 -- pytest's hooks have no other place that lasts
    needs_lab = [item for item in items if item.get_closest_marker("lab") or "lab" in getattr(item, "fixturenames", ())]
    for item in needs_lab:
        item.add_marker(pytest.mark.lab)
    if os.geteuid() and needs_lab and not _in_ci():
        _left_out = len(needs_lab)
        config.hook.pytest_deselected(items=needs_lab)
        items[:] = [item for item in items if item not in needs_lab]


def _in_ci() -> bool:
    """Whether leaving tests out is a failure; they are run then, and say themselves what they lack."""
    return os.environ.get("CI", "").lower() == "true"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _left_out:
        terminalreporter.write_line(f"{_left_out} tests left out: they run in the lab, which needs root", yellow=True)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The default lab: orch, and db1 with iptables, db2 with nftables, db3 without a firewall."""
    with Lab.up() as made:
        yield made


@pytest.fixture
def clean_lab(lab: Lab) -> Iterator[Lab]:
    """The default lab for one test, which fails if it leaves anything behind on any host.

    /srv is the test's own: it is emptied before and after. Everything else has to be as it was within a few seconds
    after the test; hidden commands, netcats, rates and cuts are put right here.
    """
    _reset(lab)
    before = lab.snapshot()
    yield lab
    _reset(lab)
    deadline = time.monotonic() + _SETTLING_SECONDS
    while left := difference(before, lab.snapshot()):
        if time.monotonic() > deadline:
            pytest.fail(f"the test left this behind:\n{left}")


def _reset(lab: Lab) -> None:
    lab.restore()
    for host in lab:
        host.run("find /srv -mindepth 1 -delete")

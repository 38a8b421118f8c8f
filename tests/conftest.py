"""Fixtures of all tests: the lab, and the selection of the tests that can run without it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from lab import Lab, SystemMissingError, difference
from lab.measured import measured

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import pluggy

pytest_plugins = ["command_lines"]

_SETTLING_SECONDS = 5.0
_LEFT_OUT = pytest.StashKey[int]()

settings.register_profile("no deadline", deadline=None)  # no test is about time, and any machine may be busy
settings.load_profile("no deadline")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/unit/golden anew, to be reviewed")
    parser.addoption("--coverage", action="store_true", help="measure the coverage and print it at the end")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lab: needs root, for the lab of namespaces or to be another user")
    if config.option.coverage and not hasattr(config, "workerinput"):
        from measurement.plugin import CoveragePlugin

        config.pluginmanager.register(CoveragePlugin.start())
    if variables := measured():
        trace_scripts(variables["BASH_ENV"])


def trace_scripts(trace: str) -> None:
    """Make each script that this process starts read a file first: its launch removes BASH_ENV."""
    from transferpy.host import launch_line
    from transferpy.RemoteExecution import running_job

    launch = launch_line().replace(" bash --norc", f" BASH_ENV={trace} bash --norc")
    vars(running_job)["launch_line"] = lambda: launch


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that use the fixtures of the lab, and deselect them without root."""
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
    needs_lab = [item for item in items if item.get_closest_marker("lab")]
    if os.geteuid() and needs_lab and not in_ci():  # there the tests run, and fail for want of root
        config.stash[_LEFT_OUT] = len(needs_lab)
        config.hook.pytest_deselected(items=needs_lab)
        items[:] = [item for item in items if item not in needs_lab]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pluggy.Result[pytest.TestReport]]:
    """Make a failure in CI of a test that leaves itself out, unless the package archive could not be reached."""
    report = (yield).get_result()
    if call.excinfo and call.excinfo.errisinstance(SystemMissingError):
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, f"Skipped: {call.excinfo.value}")
    elif report.skipped and in_ci():
        report.outcome = "failed"
        report.longrepr = f"left out, which is a failure in CI: {report.longreprtext}"


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left_out := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} tests left out: they run in the lab, which needs root", yellow=True)


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

"""A pytest plugin that measures the coverage and prints it at the end; a run fails below the bounds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import coverage
import pytest
from lab.measured import variables

from measurement.report import broken_bounds, host_coverage, python_coverage, table

_CHECKOUT = Path(__file__).resolve().parents[2]


class CoveragePlugin:
    """The measurement of one run of pytest, in the process that starts the workers.

    Args:
        directory: receives the data and the traces.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._report: list[str] = []
        self._broken: list[str] = []

    @classmethod
    def start(cls) -> CoveragePlugin:
        """Start to measure this process and each process that it starts from now on."""
        directory = _CHECKOUT / ".cache/coverage"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        os.environ.update(variables(_CHECKOUT, directory))
        coverage.process_startup()
        return cls(directory)

    @pytest.hookimpl(trylast=True)  # after the workers have ended and written their data
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compute the report, unless the run was stopped; a complete run fails below a bound."""
        if session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
            return
        if own := coverage.Coverage.current():
            own.stop()
            own.save()
        python = python_coverage(self._directory)
        self._report = list(table(python, host_coverage(_CHECKOUT, self._directory)))
        if is_complete(session.config):
            self._broken = list(broken_bounds(python))
        if self._broken and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the report."""
        terminalreporter.section("coverage")
        for line in self._report:
            terminalreporter.write_line(line)
        for line in self._broken:
            terminalreporter.write_line(line, red=True)


def is_complete(config: pytest.Config) -> bool:
    """Return whether pytest was asked for all tests and can run them: tests in the lab need root."""
    selected = config.option.keyword or config.option.markexpr
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not selected and os.geteuid() == 0

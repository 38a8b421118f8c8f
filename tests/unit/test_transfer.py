"""The interface of the command line tool for other programs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import ROOT
from hypothesis import given
from hypothesis import strategies as st

from transferpy import transfer
from transferpy.transfer import split_target


class TestSplitTarget:
    @given(st.text())
    def test_any_text_is_split_or_ends_the_program_with_status_2(self, word: str) -> None:
        try:
            host, path = split_target(word)
        except SystemExit as ended:
            assert ended.code == 2  # noqa: PT017  # the word may be valid
        else:
            assert host
            assert path

    def test_the_reason_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(SystemExit):
            split_target("nonsense")
        assert caplog.messages == ["'nonsense' is not HOST:PATH: there is no colon between host and path"]


def test_importing_the_module_neither_loads_cumin_nor_touches_logging_or_signals() -> None:
    script = """
import logging, signal, sys
before = [signal.getsignal(signum) for signum in signal.Signals]
import transferpy.transfer
assert not [name for name in sys.modules if name.startswith(("cumin", "ClusterShell", "transferpy.Transferer"))]
assert [signal.getsignal(signum) for signum in signal.Signals] == before
assert not logging.getLogger("transferpy").handlers and not logging.getLogger().handlers
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_control_c_during_the_imports_shows_no_traceback(tmp_path: Path) -> None:
    # Replaces a module that is imported early.
    (tmp_path / "configparser.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)", encoding="utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(transfer.__file__).parents[1]}"}
    command = [sys.executable, "-m", "transferpy", "--version"]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")

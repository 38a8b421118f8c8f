"""Command lines for tests: fixtures, a scripted Transferer, and a driver for processes."""

import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from transferpy import transfer
from transferpy.model.report import TransferReport

ROOT = Path(__file__).parents[2]
WORDS = ("db1:/srv/sqldata", "db2:/srv")
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO |WARNING|ERROR) [^\n]*\n")

CommandLine = Callable[..., None]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of the default configuration file, which does not exist."""
    path = tmp_path / "transferpy.conf"
    monkeypatch.setattr(transfer, "CONFIG_FILE", str(path))
    return path


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, config: Path) -> CommandLine:
    assert not config.exists()
    return lambda *words: monkeypatch.setattr(sys, "argv", ["transfer.py", *words])


class ScriptedTransferer:
    """A Transferer that runs a function of the test."""

    script: Callable[[], list[int]] | None = None
    made: tuple[Any, ...] = ()

    def __init__(self, *arguments: object, observer: object) -> None:
        assert callable(observer)
        type(self).made = arguments
        self.report = TransferReport(started=datetime.now(UTC))

    def run(self) -> list[int]:
        assert self.script is not None, "run was not expected"
        return type(self).script()  # type: ignore[misc]  # a function, not a method


@pytest.fixture
def transferer(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ScriptedTransferer]]:
    module = types.ModuleType("transferpy.Transferer")
    module.Transferer = ScriptedTransferer  # type: ignore[attr-defined]  # a module made for the test
    monkeypatch.setitem(sys.modules, "transferpy.Transferer", module)
    ScriptedTransferer.script, ScriptedTransferer.made = None, ()
    yield ScriptedTransferer
    ScriptedTransferer.script = None


# Replaces Transferer as the fixture does, and runs the console script. With "wait" the run waits for a signal,
# cleans up until it reads a line, and raises Interrupted again; with "return" it returns after the clean-up.
DRIVER = """
import logging, os, sys, time, types, warnings
from datetime import UTC, datetime
from transferpy.Exceptions import Interrupted
from transferpy.model.report import TransferReport
script, report, *arguments = sys.argv[1:]
sys.argv = ["transfer.py", *arguments]

class Transferer:
    report = TransferReport(started=datetime.now(UTC))
    def __init__(self, *arguments, observer): pass
    def run(self):
        logging.getLogger("transferpy.fake").info("caf\\udce9")
        descriptor = os.open(report, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, f"opened as {descriptor}".encode())
        print("printed", flush=True)
        os.system(f"{{ echo from a child && echo from a child >&2; }} || echo > {report}.lost")
        warnings.warn("noise")
        if script == "succeed":
            return [0, 0]
        try:
            print("ready", flush=True)
            # Short sleeps, as in the program: a signal just before a long sleep would be handled after the sleep only.
            for _ in range(1200):
                time.sleep(0.05)
            return [0]
        except Interrupted as error:
            print("cleaning", flush=True)
            sys.stdin.readline()
            print("cleaned", flush=True)
            if script == "return":
                return [1]
            raise

module = types.ModuleType("transferpy.Transferer")
module.Transferer = Transferer
sys.modules["transferpy.Transferer"] = module
import transferpy.transfer
transferpy.transfer.CONFIG_FILE = "/nowhere/at.all"
sys.exit(transferpy.transfer.main())
"""


def driver(shell: str, script: str, report: Path, **streams: Any) -> "subprocess.Popen[str]":
    """Start the driver from bash, after the commands in ``shell``."""
    command = ["bash", "-c", f'{shell}\nexec "$@"', "--", sys.executable, "-c", DRIVER, script, str(report), *WORDS]
    # Without variables such as PYTHONUNBUFFERED, which would hide late writes.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(command, text=True, env=environment, **streams)

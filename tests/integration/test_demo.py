"""The demo judges its own result: it finds faults, and it leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import demo
import pytest
from lab import CHECKOUT, Lab, LabError
from lab.lab import running_labs
from lab.spec import LabState, Process, lab_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab


@pytest.fixture
def running() -> Iterator[subprocess.Popen[str]]:
    """A demo that copies a little."""
    argv = [sys.executable, "tests/demo.py", "--megabytes", "20"]
    with subprocess.Popen(
        argv, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        yield process
        process.kill()


def lab_of(process: subprocess.Popen[str]) -> LabState:
    states = []
    for name in running_labs():
        with suppress(LabError):  # somebody else's, and gone by now
            states.append(LabState.load(name))
    return next(state for state in states if state.owner and state.owner.pid == process.pid)


def left_of(state: LabState) -> list[str]:
    left = [str(lab_directory(state.name))] if lab_directory(state.name).exists() else []
    for host in state.hosts:
        with suppress(LabError):
            left.append(f"{host.name}: {Process.of(host.init)}")
    return left


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    output = ""
    while text not in output:
        line = process.stdout.readline()
        assert line, f"the demo ended before it said {text!r}:\n{output}"
        output += line
    return output


def test_the_demo_copies_to_both_targets_and_leaves_nothing_behind(running: subprocess.Popen[str]) -> None:
    output = read_until(running, "The command and its output")
    state = lab_of(running)
    assert len(state.hosts) == 4
    output += running.communicate()[0]
    assert running.returncode == 0, output
    assert "FAILED" not in output
    for line in (
        "root@orch:~# transfer.py db1:/srv/tree db2:/srv db3:/srv\n",
        "INFO  db2:/srv/tree: complete\n",
        "INFO  db3:/srv/tree: complete\n",
        "INFO  2 of 2 target(s) succeeded",
        "db2: -A INPUT -s ",
        "db3: ip6 saddr ",
        "  ok      db2:/srv/tree is equal to db1:/srv/tree, by rsync ",
        "  ok      db3:/srv/tree is equal to db1:/srv/tree, by rsync ",
        "  ok      the firewalls of all hosts are unchanged\n",
    ):
        assert line in output
    assert output.endswith("\nAll checks passed.\n")
    assert left_of(state) == []


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_ended_in_the_middle_of_the_copy_leaves_nothing_behind(
    running: subprocess.Popen[str], signum: signal.Signals
) -> None:
    read_until(running, " listens for ")
    state = lab_of(running)
    assert left_of(state)
    running.send_signal(signum)
    output = running.communicate()[0]
    assert running.returncode == 128 + signum
    assert f"ended by {signum.name}" in output
    assert left_of(state) == []


def test_the_demo_sees_which_firewalls_let_a_connection_through(clean_lab: Lab) -> None:
    db1, db2, db3 = (clean_lab[name] for name in ("db1", "db2", "db3"))
    assert not demo.lets_through(db3, db1)
    assert not demo.lets_through(db3, db2)
    assert demo.lets_through(db1, db3)


@pytest.mark.parametrize(
    "damage",
    [
        "sed -i s/a/b/ usr/file",
        "chmod g+w usr/file",
        "touch usr/file",
        "chown 7:7 usr",
        "rm usr/file",
        "touch usr/more",
        "setfattr -n user.x -v y usr/file",
        "rm usr/link && cp -p usr/file usr/link",
        "rm -r usr",
    ],
)
def test_the_demo_sees_that_a_copy_is_not_as_its_source(clean_lab: Lab, damage: str) -> None:
    source, target = clean_lab[demo.SOURCE], clean_lab["db2"]
    make = f"mkdir -p {demo.TREE}/usr && cd {demo.TREE} && echo a >usr/file && ln usr/file usr/link"
    for host in (source, target):
        host.sh(f"{make} && find . -depth -exec touch -d 2020-02-02 {{}} +")
    assert demo.differences(clean_lab, target) == ""
    target.sh(f"cd {demo.TREE} && {damage}")
    assert demo.differences(clean_lab, target) != ""


@pytest.mark.parametrize(
    ("remains", "undo", "seen"),
    [
        ("iptables -I INPUT -p tcp --dport 4400 -j ACCEPT", "iptables -D INPUT 1", "firewalls"),
        ("mkdir /run/transferpy", "rmdir /run/transferpy", "/run"),
        ("touch /srv/.half-copy", "rm /srv/.half-copy", "/srv"),
        ("(exec sleep 120.25 >/dev/null 2>&1 &)", "kill $(pgrep -f '^sleep 120.25$')", "process"),
    ],
)
def test_the_demo_finds_the_remains_of_a_run(
    clean_lab: Lab, monkeypatch: pytest.MonkeyPatch, remains: str, undo: str, seen: str
) -> None:
    monkeypatch.setattr(demo, "SETTLING_SECONDS", 0.0)
    verdict = demo.Verdict()
    before = clean_lab.snapshot()
    clean_lab["db1"].sh(remains)
    demo.show_remains(verdict, before, clean_lab)
    clean_lab["db1"].sh(undo)
    assert len(verdict.failed) == 1
    assert seen in verdict.failed[0]


def test_the_demo_sees_that_the_command_copied_nothing(clean_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "COMMAND", "/bin/false")
    verdict = demo.demonstrate(clean_lab, 1)
    clean_lab["orch"].sh("rm /usr/local/bin/transfer.py")
    assert "transfer.py ended with exit status 0" in verdict.failed
    assert [what for what in verdict.failed if what.startswith("db2:/srv/tree has ")]
    assert [what for what in verdict.failed if what.startswith("db3:/srv/tree has ")]


def test_the_demo_finds_enough_of_this_machine_to_copy() -> None:
    parts = demo.chosen_parts(200_000_000)
    assert 190_000_000 <= sum(demo.size_of(Path(part)) for part in parts) <= 230_000_000

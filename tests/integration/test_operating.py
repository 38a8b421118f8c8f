"""Features for operators: reports, metrics, the progress line, dry runs, sets of targets, and jobs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from helpers import BOTH_CUMINS, collect, eventually, start_transfer, transfer
from lab import CHECKOUT, difference

if TYPE_CHECKING:
    from pathlib import Path

    from lab import Lab

SCHEMA = json.loads((CHECKOUT / "docs/report.schema.json").read_text())
JOB = """\
at_once: 2
at_once_per_host: 2
state_directory: /root/state
on_success: tee /root/good.json
on_failure: tee /root/bad.json
defaults:
  keep: 1
  retries: 1
  retry_pause: 1
transfers:
  a:
    source: db1:/srv/x
    targets: db[2-3]:/srv/backups/{name}/{date}-{time}
"""


def report_of(lab: Lab, path: str = "/root/r.json") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(lab["orch"].sh(f"cat {path}; rm {path}"))
    jsonschema.validate(document, SCHEMA)
    return document


def lay(lab: Lab, megabytes: int = 1) -> None:
    lab["db1"].run(f"mkdir -p /srv/x && head -c {megabytes}000000 /dev/urandom >/srv/x/a && touch /srv/x/b")


@BOTH_CUMINS
def test_a_set_of_hosts_is_served_and_all_of_it_is_reported(clean_lab: Lab, python: str) -> None:
    lay(clean_lab)
    recorded = ("--report", "/root/r.json", "--metrics", "/root/m.prom")
    words = ("db1:/srv/x", "db[2-3]:/srv", '"db3 or db2":/srv/')
    result = transfer(clean_lab, *recorded, *words, python=python, check=True)
    assert "2 of 2 target(s) succeeded" in result.stderr
    (run,) = report_of(clean_lab)["transfers"]
    assert [target["target"]["host"] for target in run["targets"]] == ["db2", "db3"]
    for target in run["targets"]:
        assert (target["status"], target["bytes"], target["files"]) == (0, 1_000_000, 2)
        assert 1_000_000 <= target["wire_bytes"] < 1_100_000  # the data is incompressible
    metrics = clean_lab["orch"].sh("cat /root/m.prom; stat -c %a /root/m.prom; rm /root/m.prom")
    assert metrics.endswith("\n644")
    assert metrics.count("\ntransferpy_last_status{") == 2


def test_a_dry_run_prints_the_steps_and_changes_nothing(clean_lab: Lab) -> None:
    lay(clean_lab)
    clean_lab["db2"].run("mkdir -p /run/transferpy/run.target.0123456789abcdef.1.1")  # of a stale run
    before = clean_lab.snapshot()
    run = start_transfer(clean_lab, "--dry-run", "--create-target", "db1:/srv/x", "db2:/srv/new/y", "db3:/srv")
    result = collect(run)
    assert result.status == 0
    assert "db2:/srv/new/y/x:\n  directory: /srv/new/y is missing and would be made\n" in result.stdout
    lines = r"firewall: nft insert rule .*\n  compression: .*\n  receives.*: socat .* \| tar --extract"
    assert re.search(lines, result.stdout)
    assert "estimate: " in result.stdout
    refused = collect(start_transfer(clean_lab, "--dry-run", "db1:/srv/none", "db2:/srv"))
    assert (refused.status, refused.stdout) == (4, "")
    assert eventually(lambda: not difference(before, clean_lab.snapshot()), seconds=5)
    clean_lab["db2"].run("rm -r /run/transferpy")


def test_a_run_that_a_signal_ends_reports_the_signal_and_undoes_its_changes(clean_lab: Lab) -> None:
    lay(clean_lab, 30)
    clean_lab["db2"].shape("20mbit")
    words = ("--create-target", "--report", "/root/r.json", "--metrics", "/root/m.prom", "db1:/srv/x", "db2:/srv/n/y")
    run = start_transfer(clean_lab, *words)
    assert eventually(lambda: clean_lab["db2"].sh("find /srv -name a"))
    run.send_signal(signal.SIGTERM)
    assert collect(run).status == 143
    (report,) = report_of(clean_lab)["transfers"]
    assert (report["status"], report["interrupted"]) == (143, "SIGTERM")
    assert "transferpy_last_status" in clean_lab["orch"].sh("grep 143 /root/m.prom; rm /root/m.prom")
    assert clean_lab["db2"].sh("ls -A /srv") == ""


def test_an_output_that_cannot_be_written_does_not_change_the_copy(clean_lab: Lab) -> None:
    lay(clean_lab)
    result = transfer(clean_lab, "--metrics", "/nowhere/m.prom", "--log-file=/nowhere/log", "db1:/srv/x", "db2:/srv")
    assert result.status == 11
    assert "ERROR /nowhere/m.prom: the metrics cannot be written: " in result.stderr
    assert "ERROR /nowhere/log: the log cannot be written: " in result.stderr
    assert clean_lab["db2"].sh("ls /srv/x") == "a\nb"
    again = transfer(clean_lab, "--metrics", "/nowhere/m.prom", "db1:/srv/x", "db2:/srv")
    assert again.status == 4


def at_a_terminal(lab: Lab, *words: str, env: dict[str, str], columns: int = 80) -> tuple[int, str]:
    """Run the command on a pseudo-terminal and return its exit status and its output."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    run = start_transfer(lab, *words, env={"TERM": "xterm", **env}, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # all writers have closed the terminal
        pass
    os.close(master)
    return run.wait(), shown.decode()


@pytest.mark.parametrize("colours", [True, False])
def test_a_terminal_shows_how_far_the_copy_is(clean_lab: Lab, *, colours: bool) -> None:
    lay(clean_lab, 8)
    clean_lab["db2"].shape("20mbit")
    env = {} if colours else {"NO_COLOR": "1"}
    status, shown = at_a_terminal(clean_lab, "db1:/srv/x", "db2:/srv", env=env)
    assert status == 0
    assert re.search(r"1/1 db2:/srv \|.*\| +\d+% of 8 MB, [\d.]+ [kM]B/s, [\d.]+ s left, [\d.]+:1", shown)
    assert "waiting for the first byte" in shown
    assert ("\x1b[32m" in shown) == colours
    assert shown.rstrip().endswith("s")
    assert re.search(r"\r?\n[-\d]+ [:\d]+ INFO  1 of 1 target\(s\) succeeded in [\d.]+ s\r\n$", shown)
    _, quiet = at_a_terminal(clean_lab, "--quiet", "db1:/srv/x", "db2:/srv", env=env)
    assert quiet.count("\n") == 2  # the lines "exists already" and "refused"
    assert "INFO" not in quiet


def shape(line: str) -> str:
    """Return a line without the values that differ between runs: times, sizes, rates and lengths of names."""
    for pattern, stands_for in (
        (r"^[-\d]+ [:\d]+", "TIME"),
        (r"\.example\.org", ""),
        (r"/srv/\w+", "/srv/NAME"),
        (r"\|.*\|", "|BAR|"),
        (r"[\d.]+ [kMG]?B\b", "SIZE"),
        (r"(?<![\w.])[\d.:]*\d(?![\w/])", "N"),
        (r" +", " "),
    ):
        line = re.sub(pattern, stands_for, line)
    return line.strip()


def test_the_readme_shows_the_output_of_a_terminal(clean_lab: Lab) -> None:
    clean_lab["db1"].run("mkdir -p /srv/x && head -c 52000000 /dev/urandom | base64 >/srv/x/a && touch /srv/x/b")
    for host in ("db2", "db3"):
        clean_lab[host].shape("100mbit")
    status, shown = at_a_terminal(clean_lab, "db1:/srv/x", "db2:/srv", "db3:/srv", env={"NO_COLOR": "1"}, columns=118)
    assert status == 0
    lines = re.split(r"[\r\n]+", shown)
    readme = [line.strip() for line in (CHECKOUT / "README.md").read_text().splitlines() if line.startswith("    ")]
    logged = [shape(line) for line in readme if re.match(r"[-\d]+ [:\d]+ INFO", line)]
    assert len(logged) == 18
    assert logged == [shape(line) for line in lines if re.match(r"[-\d]+ [:\d]+ [A-Z]", line)]
    (bar,) = [shape(line) for line in readme if re.match(r"\d/\d db", line)]
    assert bar in {shape(line) for line in lines}


def test_a_job_makes_copies_keeps_some_and_touches_nothing_else(clean_lab: Lab) -> None:
    lay(clean_lab)
    clean_lab["orch"].run("cat >/root/j.yaml", input=JOB.encode())
    clean_lab["db2"].run("mkdir -p /srv/backups/a/2026-01-01-000000")
    for _ in range(2):
        result = transfer(clean_lab, "--job", "/root/j.yaml", "--report", "/root/r.json")
        assert result.status == 0, result.stderr
        time.sleep(1.1)  # the name of a copy contains the time in seconds
    assert "[a] db2:/srv/backups/a/" in result.stderr
    assert "old copy removed" in result.stderr
    for host, count in (("db2", 2), ("db3", 1)):
        assert len(clean_lab[host].sh("ls -A /srv/backups/a").split()) == count
    document = report_of(clean_lab)
    assert (document["job"], document["status"], document["transfers"][0]["name"]) == ("j", 0, "a")
    assert document == report_of(clean_lab, "/root/good.json")
    clean_lab["orch"].run("rm -r /root/j.yaml /root/state")


def test_a_job_retries_only_failed_targets_and_runs_once_at_a_time(clean_lab: Lab) -> None:
    lay(clean_lab)
    clean_lab["orch"].run("cat >/root/j.yaml", input=JOB.replace("retry_pause: 1", "retry_pause: 4").encode())
    clean_lab["db3"].run("touch /srv/backups")  # a file instead of the directory
    run = start_transfer(clean_lab, "--job", "/root/j.yaml", "--report", "/root/r.json")
    assert eventually(lambda: clean_lab["orch"].sh("ls /root/state 2>/dev/null || true"))
    second = transfer(clean_lab, "--job", "/root/j.yaml")
    assert (second.status, "another run of this job has not ended yet" in second.stderr) == (12, True)
    first = collect(run)
    assert first.status == 4
    assert "[a] failed with status 4; next attempt in 4.0 s" in first.stderr
    (report,) = report_of(clean_lab)["transfers"]
    assert report["attempts"] == 2
    assert report_of(clean_lab, "/root/bad.json")["status"] == 4
    clean_lab["orch"].run("rm -r /root/j.yaml /root/state")


def test_a_job_that_makes_no_sense_is_refused_with_its_lines(clean_lab: Lab) -> None:
    clean_lab["orch"].run(
        "cat >/root/j.yaml", input=JOB.replace("keep: 1", "kep: 1").replace("/srv/b", "/../b").encode()
    )
    result = transfer(clean_lab, "--job", "/root/j.yaml")
    clean_lab["orch"].run("rm /root/j.yaml")
    assert result.status == 2
    assert "/root/j.yaml: line 7: unknown key 'kep' in defaults" in result.stderr
    assert "/root/j.yaml: line 13: " in result.stderr


def test_aliases_and_queries_of_cumin_are_targets(clean_lab: Lab) -> None:
    lay(clean_lab)
    orch = clean_lab["orch"]
    orch.run("cat >/etc/cumin/aliases.yaml", input=b"backups: D{db[2-3]}\nlone: D{db3}\n")
    try:
        words = ("db3:/srv", '"A:backups":/srv', '"A:lone":/srv/', '"A:backups and not A:lone":/srv')
        result = transfer(clean_lab, "--report=/root/r.json", "db1:/srv/x", *words, check=True)
        assert "2 of 2 target(s) succeeded" in result.stderr
        targets = report_of(clean_lab)["transfers"][0]["targets"]
        assert [(one["target"]["host"], one["target"]["path"]) for one in targets] == [("db3", "/srv"), ("db2", "/srv")]
        job = JOB.replace("targets: db[2-3]:", 'targets: \'"A:backups":').replace("{time}", "{time}'")
        orch.run("cat >/root/j.yaml", input=job.encode())
        assert transfer(clean_lab, "--job=/root/j.yaml").status == 0
        assert [bool(clean_lab[host].sh("ls /srv/backups/a/*/x/a")) for host in ("db2", "db3")] == [True, True]
        unknown = transfer(clean_lab, "db1:/srv/x", '"A:nobody":/srv')
        assert (unknown.status, "Unable to find alias replacement for 'nobody'" in unknown.stderr) == (3, True)
    finally:
        orch.run("rm -rf /etc/cumin/aliases.yaml /root/j.yaml /root/state /root/good.json")


# The restrictions of the units of docs/examples, without systemd, which does not run here: read-only file systems
# except for the paths of the unit, a private /tmp, no new privileges, and the remaining capabilities.
CONFINED = r"""
set -e
capabilities=$1 checkout=$2
shift 2
writable=()
while [ "$1" != -- ]; do
  mkdir -p "$1"
  writable+=("$1")
  shift
done
shift
mount --bind "$checkout" /mnt
for directory in "${writable[@]}"; do mount --bind "$directory" "$directory"; done
mount -t tmpfs none /tmp
mount -t tmpfs none /var/tmp
while read -r place; do
  [[ " ${writable[*]} /tmp /var/tmp " == *" $place "* || $place == /@(proc|sys|dev)* || ! -e $place ]] ||
    mount -o remount,bind,ro "$place"
done < <(findmnt -rno TARGET)
for place in / /etc /root /run /srv /usr /var/lib; do
  ! touch "$place/x" 2>/dev/null || { echo "$place can be written to" >&2; exit 99; }
done
umask 077
cd /
export PYTHONPATH=/mnt PYTHONDONTWRITEBYTECODE=1
exec setpriv --no-new-privs --bounding-set="-all$capabilities" -- /usr/bin/python3 -m transferpy "$@"
"""


def unit() -> dict[str, str]:
    """Return the settings of the service in docs/examples."""
    text = (CHECKOUT / "docs/examples/transferpy-nightly.service").read_text().replace("\\\n", "")
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


def test_the_service_of_the_examples_can_do_its_work_as_confined_as_it_is(clean_lab: Lab) -> None:
    lay(clean_lab)
    settings = unit()
    assert (settings["ProtectSystem"], settings["ProtectHome"]) == ("strict", "read-only")
    capabilities = "".join(f",+{name[4:].lower()}" for name in settings["CapabilityBoundingSet"].split())
    state = f"/var/lib/{settings['StateDirectory']}"
    writable = [state, *(path.removeprefix("-") for path in settings["ReadWritePaths"].split())]
    words = [word for word in settings["ExecStart"].split()[1:] if word != "--syslog"]  # the lab has no system log
    orch = clean_lab["orch"]
    job = JOB.replace("state_directory: /root/state\n", "").replace("tee /root", f"tee {state}").encode()
    orch.run("cat >/etc/transferpy/nightly.yaml", input=job)
    try:
        for _ in range(2):
            given = [capabilities, str(CHECKOUT), *writable, "--", *words]
            done = orch.run(["unshare", "-m", "bash", "-c", CONFINED, "confined", *given], check=False, timeout=120)
            assert (done.returncode, done.stderr) == (0, b"")
            time.sleep(1.1)  # the name of a copy contains the time in seconds
        document = report_of(clean_lab, f"{state}/nightly-report.json")
        assert [target["status"] for target in document["transfers"][0]["targets"]] == [0, 0]
        assert document == report_of(clean_lab, f"{state}/good.json")
        for host in ("db2", "db3"):
            assert len(clean_lab[host].sh("ls -A /srv/backups/a").split()) == 1
        (metrics,) = (word.partition("=")[2] for word in words if word.startswith("--metrics="))
        assert orch.sh(f"stat -c %a {metrics}") == "644"
    finally:
        orch.run(["rm", "-rf", "/etc/transferpy/nightly.yaml", state, "/var/lib/prometheus"])


def test_systemd_finds_no_fault_with_the_units_of_the_examples(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    for name in ("transferpy-nightly.service", "transferpy-nightly.timer"):
        text = (CHECKOUT / "docs/examples" / name).read_text()
        (tmp_path / name).write_text(text.replace("ExecStart=transfer.py", "ExecStart=/bin/true"))
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    # The exposure level of systemd in tenths; without restrictions, it is 96.
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=25", units[0]]
    rated = subprocess.run(words, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout

"""Runs single stages of a stream on the hosts of a lab, and measures the processor time of programs and hosts."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from transferpy.model.codecs import CODECS

from .figures import Cost
from .stages import ARCHIVE, DIRECTORY, NAME_IN_CERTIFICATES, PORT, SENDER_ADDRESS, SOURCE, STAGE_CODECS, TARGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lab import Host

    from .stages import OneStage

_SETUP_SECONDS = 1800.0
_WORKING_DIRECTORIES = {SOURCE: "/srv", TARGET: "/srv/copy"}
_TIMES = slice(11, 15)
"""User and system time of a process and of its children that ended: fields of /proc/PID/stat after the name."""
_KEY = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    f" -subj /CN={NAME_IN_CERTIFICATES} -keyout key.pem -out certificate.pem 2>/dev/null"
)


class StageError(Exception):
    """A stage failed."""


def prepare_stages(hosts: Mapping[str, Host], data: str) -> None:
    """Write the input of the stages, and the keys of both ends, to DIRECTORY on both hosts."""
    files = [ARCHIVE, *(f"{ARCHIVE}.{name}" for name in STAGE_CODECS)]
    for host in hosts.values():
        host.run(f"mkdir {DIRECTORY} && cd {DIRECTORY} && {_KEY}")
    commands = [f"cd {DIRECTORY}", f"tar --create --file={ARCHIVE} --directory=/srv ./{data}"]
    for name in STAGE_CODECS:
        compress = CODECS[name].programs[0].compress(CODECS[name].default_level, 1)
        commands.append(f"{' '.join(compress)} <{ARCHIVE} >{ARCHIVE}.{name}")
    hosts[SOURCE].run(" && ".join(commands), timeout=_SETUP_SECONDS)
    here, there = (_path(hosts[end], "") for end in (SOURCE, TARGET))
    for name in files:
        shutil.copyfile(here / name, there / name)
    shutil.copyfile(here / "certificate.pem", there / "sender.pem")
    shutil.copyfile(there / "certificate.pem", here / "receiver.pem")
    hosts[TARGET].run("sync", timeout=_SETUP_SECONDS)


def _path(host: Host, name: str) -> Path:
    return host.root / DIRECTORY.removeprefix("/") / name


def run_stage(
    hosts: Mapping[str, Host], stage: OneStage, await_listener: Callable[[subprocess.Popen[Any]], None]
) -> Cost:
    """Run a stage, between programs that feed it and read its output; return the processor time of the stage alone.

    Raises:
        StageError: a program failed.
    """
    began = time.monotonic()
    with _Programs(hosts) as programs:
        if stage.receiving:
            programs.start(TARGET, stage.receiving, "" if stage.sending else stage.feed)
            if stage.sending:
                await_listener(programs.of[TARGET])
        if stage.sending:
            programs.start(SOURCE, stage.sending, stage.feed)
        used = {end: programs.wait(end) for end in sorted(programs.of)}
    return Cost(time.monotonic() - began, processor={stage.end: used[stage.end]})


class _Programs:
    """The programs of a stage, which end with the context."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._hosts = hosts
        self._all: list[subprocess.Popen[Any]] = []
        self.of: dict[str, subprocess.Popen[Any]] = {}
        self._variables = {
            "run_directory": DIRECTORY,
            "peer_address": hosts[TARGET].ipv4,
            **dict.fromkeys(("port", "peer_port"), str(PORT)),
            **dict.fromkeys(("send_buffer", "receive_buffer"), ""),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            if process.returncode is None:
                process.kill()
                process.wait()

    def start(self, end: str, command: str, feed: str) -> None:
        """Start the program of one end; its input is that file, and its output is read and discarded."""
        command = command.replace(SENDER_ADDRESS, self._hosts[SOURCE].ipv4)
        given = self._start(end, f"cat {DIRECTORY}/{feed}", subprocess.DEVNULL).stdout if feed else subprocess.DEVNULL
        self.of[end] = self._start(end, command, given)
        self._start(end, "cat >/dev/null", self.of[end].stdout)

    def _start(self, end: str, command: str, given: IO[bytes] | int | None) -> subprocess.Popen[Any]:
        process = self._hosts[end].popen(
            ("bash", "-c", f"exec {command}"),
            cwd=_WORKING_DIRECTORIES[end],
            env=self._variables,
            stdin=given,
            stdout=subprocess.PIPE,
        )
        self._all.append(process)
        if given and not isinstance(given, int):
            given.close()
        return process

    def wait(self, end: str) -> float:
        """Wait for the program of one end; return its processor time in seconds. Raises StageError if it failed."""
        process = self.of[end]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise StageError(f"exit status {process.returncode} on the {end}")
        return usage.ru_utime + usage.ru_stime


@contextmanager
def processor_time(hosts: Mapping[str, Host]) -> Iterator[dict[str, float]]:
    """Measure the processor time of all processes of each host; the result is complete at the end of the context.

    The work of the kernel that belongs to no process, such as that for packets and disks, is not measured.
    """
    used: dict[str, float] = {}
    before = {end: _processor_time(host) for end, host in hosts.items()}
    yield used
    used |= {end: _processor_time(host) - before[end] for end, host in hosts.items()}


def _processor_time(host: Host) -> float:
    """Return the processor time of the processes of a host and of all their children that ended, in seconds."""
    namespace = Path(f"/proc/{host.init}/ns/pid").readlink()
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended
            if (process / "ns/pid").readlink() == namespace:
                fields = (process / "stat").read_text(errors="replace").rpartition(") ")[2].split()
                ticks += sum(map(int, fields[_TIMES]))
    return ticks / os.sysconf("SC_CLK_TCK")

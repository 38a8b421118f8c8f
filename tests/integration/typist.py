"""Types on the hosts of a lab what the manual says to type."""

from __future__ import annotations

import subprocess
import tempfile
from typing import TYPE_CHECKING

from lab import CHECKOUT, Lab
from lab.spec import ENVIRONMENT
from pages import CHECKOUT_PROMPT, Typed, typed_by_tests

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab import Host

_TYPING_SECONDS = 120


def install_command(lab: Lab) -> None:
    """Put transfer.py, as it is in this checkout, on the orchestration host."""
    lab["orch"].run(["ln", "-sfT", str(CHECKOUT / ".venv/bin/transfer.py"), "/usr/local/bin/transfer.py"])


def type_on(host: Host, command: str) -> str:
    """Type a command on a host, as root; return what it wrote. It has to end with status 0."""
    # Not into a pipe: a server that the command starts would hold that open.
    with tempfile.TemporaryFile() as output:
        words = ["bash", "-l", "-c", command]
        process = host.popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        status = process.wait(timeout=_TYPING_SECONDS)
        output.seek(0)
        wrote = output.read().decode(errors="backslashreplace")
    assert status == 0, f"{host.name}# {command}\nended with {status} and wrote:\n{wrote}"
    return wrote


def type_in_checkout(command: str) -> str:
    """Type a command in this checkout, as root; return what it wrote. It has to end with status 0."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=CHECKOUT,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TYPING_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"checkout# {command}\nended with {done.returncode} and wrote:\n{done.stdout}"
    return done.stdout


def type_section(page: str, title: str, host: Callable[[str], Host]) -> str:
    """Type what a section of a page says, on the hosts that ``host`` finds by name; return all that was written."""

    def written(typed: Typed) -> str:
        if typed.host == CHECKOUT_PROMPT:
            return type_in_checkout(typed.command)
        return type_on(host(typed.host), typed.command)

    return "".join(map(written, typed_by_tests(page)[title]))

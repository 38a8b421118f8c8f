"""Runs the commands of the manual on the hosts of a lab."""

from __future__ import annotations

import re
import subprocess
import tempfile
from types import MappingProxyType
from typing import TYPE_CHECKING

from lab import CHECKOUT, Lab
from lab.spec import ENVIRONMENT
from pages import CHECKOUT_PROMPT, typed_by_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab import Host

_TYPING_SECONDS = 120


def install_command(lab: Lab) -> None:
    """Install transfer.py of this checkout on the orchestration host."""
    lab["orch"].run(["ln", "-sfT", str(CHECKOUT / ".venv/bin/transfer.py"), "/usr/local/bin/transfer.py"])


def type_on(host: Host, command: str) -> str:
    """Run a command on a host as root and return its output; fail unless its exit status is 0."""
    # The output is not a pipe, because a server that the command starts would keep the pipe open.
    with tempfile.TemporaryFile() as output:
        words = ["bash", "-l", "-c", command]
        process = host.popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        status = process.wait(timeout=_TYPING_SECONDS)
        output.seek(0)
        wrote = output.read().decode(errors="backslashreplace")
    assert status == 0, f"{host.name}# {command}\nended with {status} and wrote:\n{wrote}"
    return wrote


def type_in_checkout(command: str) -> str:
    """Run a command in this checkout as root and return its output; fail unless its exit status is 0."""
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


def type_section(
    page: str,
    title: str,
    host: Callable[[str], Host],
    *,
    mode: str = "",
    values: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run the commands of a section and return their output.

    Args:
        page: name of the page.
        title: title of the section.
        host: returns the host of a name.
        mode: kind of replication, as for typed_by_tests.
        values: regular expressions for the words that stand for values. A word is replaced by the last match of its
            first group in the output of the earlier commands.
    """
    wrote = ""
    for typed in typed_by_tests(page, mode)[title]:
        command = typed.command
        for word in values:
            if word in command:
                command = command.replace(word, re.findall(values[word], wrote, re.MULTILINE)[-1])
        in_checkout = typed.host == CHECKOUT_PROMPT
        wrote += type_in_checkout(command) if in_checkout else type_on(host(typed.host), command)
    return wrote

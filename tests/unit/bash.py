"""Runs rendered text in a real bash, and makes the texts that hurt shells."""

import base64
import gzip
import os
import subprocess
from pathlib import Path

from hypothesis import strategies as st

from transferpy.host import assemble
from transferpy.stream.commands import Command, Variable, join
from transferpy.stream.transports import Transport

SHELL_CHARACTERS = "'\"$`\\!*?[]{}~#%&;|<>()^= \n\t\r-\x01\x7fa"

any_text = st.one_of(
    st.text(SHELL_CHARACTERS),
    st.text().map(lambda text: text.replace("\0", "")),
    st.binary().map(lambda data: os.fsdecode(data.replace(b"\0", b""))),
)

HOSTILE_NAMES = (
    *("two words", " blank at both ends ", "tab\tin it", "new\nline", "newline at the end\n", "carriage\rreturn"),
    *("single'quote", 'double"quote', "back\\slash", "$(touch gone)", "`touch gone`", "$HOME", "~root", "a;b&&c|d"),
    *("-rf", "--checkpoint-action=exec=touch gone", "*", "?[a-z]{1,2}", "%h %s %n", "#comment", "!history", "=equals"),
    *("\x01\x7f\x1b[31m", "ünïcödé", os.fsdecode(b"latin1-\xe9"), os.fsdecode(b"\xff\xfe\x80"), "a -> b", ". ."),
    *("...", "a,b:c@d", "(parentheses)", "<less>greater"),
)

# For tests that take a while for each: every class of trouble once.
NASTIEST_NAMES = (
    ' it\'s "two" `words` ',
    "$(touch gone)\\n\n",
    "-rf",
    "*?[a]{b,c}",
    "%h\x01\x7f",
    "ünï" + os.fsdecode(b"\xe9\xff"),
)


PIPES = assemble("lib/pipes")
"""What a rendered pipeline needs of a session."""

FILE = Transport(
    listen=Command(("cat", join(Variable("run_directory"), "/stream"))),
    connect=Command(("dd", "status=none", join("of=", Variable("run_directory"), "/stream"))),
)
"""In place of a network: the target reads a file that the source wrote."""


def bash_command(script: str, *arguments: str) -> list[bytes]:
    """Return the command that runs ``script`` in bash as a host does: one argument cannot have more than 128 KiB."""
    packed = base64.b64encode(gzip.compress(os.fsencode(script), 1))
    return [
        b"bash",
        b"-c",
        b'eval "$(base64 -d <<<%b | gzip -d)"' % packed,
        b"transferpy",
        *map(os.fsencode, arguments),
    ]


def run_bash(script: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run ``script`` in bash as a host does, and return its result."""
    command = bash_command(script, *arguments)
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)


def output_of(script: str, *arguments: str, cwd: Path | None = None) -> bytes:
    """Return the output of ``script``, which has to succeed without a message."""
    result = run_bash(script, *arguments, cwd=cwd)
    assert (result.returncode, result.stderr) == (0, b""), result
    return result.stdout

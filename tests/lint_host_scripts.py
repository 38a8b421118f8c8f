"""Checks the assembled scripts for hosts with shellcheck, and their perl programs with ``perl -cw``.

Prints each fault with its file and line, and exits with 1 if there is one.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

from transferpy.host import HOST, parts, perl_program
from transferpy.model.transfer_types import TRANSFER_TYPES

SCRIPTS = {
    "session": (
        *("agent/read", "agent/unpack", "agent/listen", "agent/connect", "agent/verify", "agent/publish"),
        *(f"types/{name}" for name in TRANSFER_TYPES),
    ),
    "launch": ("launch",),
    "preflight": ("preflight/main",),
    "recovery": ("lib/recovery",),
    "end command": ("tools/end_command",),
    "list": ("tools/list",),
    "prune": ("tools/prune",),
}
"""The files from which each script is assembled; those of a session with all abilities."""


def names(suffix: str) -> list[str]:
    """Return the names of all files of a language, as assembly takes them."""
    return sorted(str(path.relative_to(HOST).with_suffix("")) for path in HOST.rglob(f"*{suffix}"))


def shell_faults(*files: str) -> Iterator[str]:
    """Yield the findings of shellcheck in the script that is assembled from ``files``."""
    lines = [(name, number) for name, text in parts(*files) for number, _ in enumerate(text.splitlines(), 1)]
    script = "\n".join(text.removesuffix("\n") for _, text in parts(*files))
    command = ["shellcheck", "--shell=bash", "--format=json", "-"]
    result = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    for fault in json.loads(result.stdout):
        name, number = lines[fault["line"] - 1]
        # The shell sees a perl program as a text in quotes.
        if not name.startswith("perl/"):
            yield f"transferpy/host/{name}.sh:{number}:{fault['column']}: {fault['message']} [SC{fault['code']}]"


def perl_faults(name: str) -> Iterator[str]:
    """Yield the findings of perl in a program."""
    result = subprocess.run(["perl", "-cw", "-e", perl_program(name)], capture_output=True, text=True, check=False)
    if result.stderr != "-e syntax OK\n":
        yield f"transferpy/host/{name}.pl: {result.stderr}"


def main() -> int:
    checked = {name for files in SCRIPTS.values() for name, _ in parts(*files)}
    faults = {fault for files in SCRIPTS.values() for fault in shell_faults(*files)}
    faults |= {fault for name in names(".pl") for fault in perl_faults(name)}
    faults |= {f"{name}: stands in no script" for name in {*names(".sh")} - checked}
    print(*sorted(faults), sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

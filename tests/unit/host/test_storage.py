"""The fault of a file system, whatever space is left on it."""

import os
import subprocess
from pathlib import Path

import pytest

from transferpy.host import perl_program

FULL = "full No space left on device\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize(("free", "fault"), [(0, FULL), (4, FULL), (96, FULL), (124, FULL), (128, ""), (4096, "")])
def test_a_file_system_is_full_if_a_block_of_tar_does_not_fit(tmp_path: Path, free: int, fault: str) -> None:
    script = """
        mount -t tmpfs -o size=8m none "$1" && cd -- "$1" && head -c "$((8192 - $2))K" /dev/zero >filler || exit
        perl -e "$3" probe && [ ! -e probe ]
    """
    command = [
        "unshare",
        "--mount",
        "bash",
        "-c",
        script,
        "bash",
        str(tmp_path),
        str(free),
        perl_program("perl/storage"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == (fault, "")

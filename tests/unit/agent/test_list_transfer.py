"""The script that prints a list which a session holds."""

import base64
import gzip
import os
from pathlib import Path

from bash import HOSTILE_NAMES, output_of, run_bash

from transferpy.agent.session_script import list_script
from transferpy.stream.renderer import render_assignment

HOSTILE_DIRECTORY = "run 'x'\n$(false) %h"


def test_a_list_comes_sorted_and_compressed_in_base64(tmp_path: Path) -> None:
    lists = tmp_path / f"transferpy.{HOSTILE_DIRECTORY}"
    lists.mkdir()
    records = [os.fsencode(name) + b"\0" for name in HOSTILE_NAMES]
    assert records != sorted(records)
    (lists / "manifest").write_bytes(b"".join(records))
    script = list_script(f"/run/transferpy/{HOSTILE_DIRECTORY}", "manifest")
    script = script.replace("lists_root=/var/tmp", render_assignment("lists_root", str(tmp_path)))
    there = gzip.decompress(base64.b64decode(output_of(script)))
    assert there == b"".join(sorted(records))


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert run_bash(list_script(str(tmp_path), "manifest")).returncode != 0

"""The reader of what a host says: it finds every event in any noise, and never stumbles."""

import base64
import gzip
import os
from pathlib import Path

import pytest
from bash import HOSTILE_NAMES, any_text, output_of, run_bash
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.agent.protocol import Event, decode, parse_event
from transferpy.agent.session_script import list_script

RUN = "0123456789abcdef"


def encoded(text: str) -> str:
    return base64.b64encode(os.fsencode(text)).decode()


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (f"@transferpy {RUN} asked", Event("asked", {})),
        (f"@transferpy {RUN} ready port=4400 certificate=", Event("ready", {"port": "4400", "certificate": ""})),
        (f"  @transferpy {RUN} end status=0\r", Event("end", {"status": "0"})),
        (f"@transferpy {RUN} x a=b=c d", Event("x", {"a": "b=c", "d": ""})),
        (f"@transferpy {RUN}", None),
        (f"@transferpy {RUN} ", None),
        ("@transferpy another asked", None),
        (f"transferpy {RUN} asked", None),
        ("Welcome to db1!", None),
        ("", None),
    ],
)
def test_a_line_is_an_event_of_this_run_or_nothing(line: str, event: Event | None) -> None:
    assert parse_event(line, RUN) == event


@given(rest=any_text)
def test_no_line_makes_the_parser_stumble(rest: str) -> None:
    for line in (rest, f"@transferpy {rest}", f"@transferpy {RUN} {rest}", f"{rest}@transferpy {RUN} x"):
        event = parse_event(line, RUN)
        assert event is None or (event.name and not set(event.name) & set(" \n\t"))


@given(value=any_text)
@example(value="\n".join(HOSTILE_NAMES))
def test_any_text_comes_back_from_base64(value: str) -> None:
    event = parse_event(f"@transferpy {RUN} error kind=host text={encoded(value)}", RUN)
    assert event is not None
    assert event.text("text") == value


@given(value=st.text())
@example(value="é")
@example(value="A")
def test_what_is_no_base64_is_no_text(value: str) -> None:
    try:
        expected = os.fsdecode(base64.b64decode(value.encode("ascii"), validate=True))
    except ValueError:
        expected = ""
    assert decode(value) == expected


def test_a_field_that_is_not_there_is_no_text() -> None:
    assert Event("error", {}).text("text") == ""


HOSTILE_DIRECTORY = "run 'x'\n$(false) %h"


def test_a_list_comes_sorted_and_compressed_in_base64(tmp_path: Path) -> None:
    directory = tmp_path / HOSTILE_DIRECTORY
    directory.mkdir()
    records = [os.fsencode(name) + b"\0" for name in HOSTILE_NAMES]
    assert records != sorted(records)
    (directory / "manifest").write_bytes(b"".join(records))
    there = gzip.decompress(base64.b64decode(output_of(list_script(str(directory), "manifest"))))
    assert there == b"".join(sorted(records))


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert run_bash(list_script(str(tmp_path), "manifest")).returncode != 0

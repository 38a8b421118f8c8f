"""Any input of a user or a host: no shell executes it, and no parser fails with another error than its own."""

from __future__ import annotations

import base64
import dataclasses
import logging
import os
import re
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from bash import HOSTILE_NAMES, SHELL_CHARACTERS, any_text
from fleet import RUN
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from preflight_output import ANSWERS, QUERY

from transferpy.agent.preflight_answers import parse_facts
from transferpy.agent.protocol import _EVENTS, Listening, Probing, ProtocolError, parse_event
from transferpy.agent.session import Session
from transferpy.agent.session_plan import DeliveryPlan, SessionPlan
from transferpy.agent.session_script import session_script
from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location, split_word
from transferpy.model.options import options_from_mapping
from transferpy.model.text import size
from transferpy.RemoteExecution.running_job import pack_script
from transferpy.stream.commands import Argument, Join, Variable
from transferpy.stream.renderer import render_argument, render_array, render_assignment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transferpy.agent.protocol import Event

CASES = 10_000 if os.environ.get("CI", "").lower() == "true" else 1_000
BATCH = 500
"""Cases that one bash gets: to start one for each would take minutes."""
FUZZ = settings(max_examples=CASES)
FUZZ_A_LITTLE = settings(max_examples=CASES // 10)


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """Keep the log of thousands of cases, with characters that are none, out of the report of a test."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


INJECTIONS = (
    *("$(touch owned)", "`touch owned`", "';touch owned;'", '";touch owned;"', "\n touch owned\n", "|touch owned"),
    *(
        "&touch owned&",
        "'\\''",
        "${x}",
        "$'\\n'",
        "<(touch owned)",
        "!!",
        "\\\n",
        "EOF\n",
        ">owned",
        "x[$(touch owned)]",
    ),
    *("!!SYSTEM:touch owned", "\0".replace("\0", "%00"), "\r", "*", "~", "-", "--", "{a,b}", "#", "(", ")"),
)
words = (
    st.one_of(
        any_text, st.lists(st.sampled_from(INJECTIONS) | st.text(SHELL_CHARACTERS, max_size=3), max_size=6).map("".join)
    )
    .map(os.fsencode)
    .map(os.fsdecode)
)
parts = st.one_of(words, st.just(Variable("x")))
arguments = st.one_of(parts, st.lists(parts, min_size=1, max_size=3).map(lambda found: Join(tuple(found))))


def collected(strategy: st.SearchStrategy[Any], count: int = CASES) -> list[list[Any]]:
    """As many cases of a strategy, in batches."""
    found: list[Any] = []

    @settings(max_examples=count, database=None, phases=[Phase.generate])
    @given(strategy)
    def collect(case: Any) -> None:
        found.append(case)

    collect()
    assert len(found) >= count * 0.9  # fewer only where it has no more
    return [found[start : start + BATCH] for start in range(0, len(found), BATCH)]


@cache
def collected_words() -> list[list[str]]:
    """As many words, which several tests share."""
    return collected(words)


def printed(directory: Path, script: str) -> list[str]:
    """Return the NUL-terminated output of a bash script, which has to succeed silently and to create no file."""
    file = directory / "script"
    file.write_bytes(os.fsencode(script))
    (directory / "empty").mkdir(exist_ok=True)
    done = subprocess.run(["bash", file], cwd=directory / "empty", capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert list((directory / "empty").iterdir()) == []
    return os.fsdecode(done.stdout).split("\0")[:-1]


def as_python_has_it(word: str) -> str:
    """The text for the same bytes: two that are no UTF-8 may become a character when they meet."""
    return os.fsdecode(os.fsencode(word))


def value_of(argument: Argument, x: str) -> str:
    match argument:
        case str():
            return argument
        case Variable():
            return x
        case Join(parts=parts):
            return "".join(value_of(part, x) for part in parts)


class TestRenderer:
    def test_every_argument_gets_through_a_shell_as_it_is(self, tmp_path: Path) -> None:
        x = "".join(INJECTIONS)
        for batch in collected(arguments):
            lines = [render_assignment("x", x), *(f"printf '%s\\0' {render_argument(case)}" for case in batch)]
            assert printed(tmp_path, "\n".join(lines)) == [as_python_has_it(value_of(case, x)) for case in batch]

    def test_every_value_gets_into_a_variable_as_it_is(self, tmp_path: Path) -> None:
        for batch in collected_words():
            lines = [f"{render_assignment('x', case)}\nprintf '%s\\0' \"$x\"" for case in batch]
            assert printed(tmp_path, "\n".join(lines)) == batch
            assert printed(tmp_path, f"{render_array('x', tuple(batch))}\nprintf '%s\\0' \"${{x[@]}}\"") == batch

    def test_every_script_gets_through_a_login_shell_as_it_is(self, tmp_path: Path) -> None:
        for batch in collected_words():
            scripts = [
                " ".join(["printf '%s\\0'", *map(render_argument, batch[at : at + 25])]) for at in range(0, BATCH, 25)
            ]
            assert printed(tmp_path, "\n".join(f"({pack_script(script)})" for script in scripts)) == batch

    def test_every_path_and_owner_gets_into_a_session_as_it_is(self, tmp_path: Path) -> None:
        for batch in collected(st.tuples(words, words, words, words), CASES // 10):
            lines = []
            for directory, source, final, owner in batch:
                delivery = DeliveryPlan(
                    directory=directory,
                    staging_name=".transferpy-x",
                    source_name=source,
                    final_name=final,
                )
                session = SessionPlan(
                    host="x",
                    own_name="target.x",
                    cores=1,
                    compress_threads=1,
                    encrypt=True,
                    digest=None,
                    owner=owner,
                    delivery=delivery,
                )
                # The fixed texts are before them, the call is after them.
                assignments = session_script(RUN, session).partition("\nrun_id=")[2].removesuffix("run_session\n")
                lines.append(
                    f'run_id={assignments}printf \'%s\\0\' "$target_directory" "$source_name" "$final_name" "$owner"'
                )
            assert printed(tmp_path, "\n".join(lines)) == [word for case in batch for word in case]


class TestWordsOfUsers:
    @FUZZ_A_LITTLE
    @given(word=st.one_of(words, st.tuples(words, words).map(":".join)))
    @example(word="[::1]:/srv")
    @example(word="[db1!!x]:/srv")
    def test_a_host_name_of_a_command_line_is_always_one_word_for_a_shell(self, word: str) -> None:
        try:
            location = split_word(word)
        except UsageError:
            return
        assert_harmless(location)

    @FUZZ_A_LITTLE
    @given(host=words, path=words)
    def test_a_host_of_a_program_never_does_either(self, host: str, path: str) -> None:
        try:
            location = Location(host=host, path=path)
        except UsageError:
            return
        assert_harmless(location)

    @FUZZ_A_LITTLE
    @given(name=st.sampled_from(["owner", "defaults_file", "port", "firewall", "transfer_type"]), value=words)
    @example(name="owner", value="mysql:mysql\n")
    @example(name="port", value="4400 ")
    def test_an_option_is_a_plain_word_a_number_or_an_absolute_path(self, name: str, value: str) -> None:
        try:
            options = options_from_mapping({"transfer_type": "xtrabackup", name: value})
        except UsageError:
            return
        assert re.fullmatch(r"([A-Za-z0-9_][\w.-]*(:[A-Za-z0-9_][\w.-]*)?)?", options.owner, re.ASCII)
        assert re.fullmatch(r"(/[^\0\n]*)?", options.defaults_file)
        assert options.port in range(65536)


def assert_harmless(location: Location) -> None:
    # A text in quotes is a query, which only cumin reads.
    assert re.fullmatch(r"""[A-Za-z0-9._\-\[\],:{}!&^*~]+|"[^"'\0-\x1f\x7f]+"|'[^"'\0-\x1f\x7f]+'""", location.host)
    assert not location.host.startswith("-")
    assert location.path
    assert "\0" not in location.path


fields = st.dictionaries(
    st.sampled_from(sorted({each.name for kind in _EVENTS.values() for each in dataclasses.fields(kind)})),
    st.text().map(lambda text: "".join(filter(str.isprintable, text.split())))
    | st.sampled_from(["1", "9" * 400, "0,1", "db", "-1", "yes"]),
)
lines = st.one_of(
    any_text,
    st.lists(st.sampled_from(["@transferpy", RUN, "ready", "a=b", "=", " ", "\t", "\r", "\n", "\x85", "\x1c"])).map(
        "".join
    ),
    st.tuples(st.sampled_from(["@transferpy ", "@transferpy"]), st.sampled_from([f"{RUN} ", ""]), words).map("".join),
)


class TestWordsOfHosts:
    @FUZZ
    @given(line=lines)
    def test_a_line_is_an_event_of_this_run_or_no_event_or_a_protocol_error(self, line: str) -> None:
        try:
            event = parse_event(line, RUN)
        except ProtocolError:
            return
        if event is None:
            return
        assert line.split()[:2] == ["@transferpy", RUN]
        # A certificate goes to another host, as one word of one line.
        certificate = getattr(event, "certificate", "")
        assert certificate.split() == ([certificate] if certificate else [])

    @FUZZ_A_LITTLE
    @given(line=any_text.filter(lambda text: RUN not in text))
    def test_a_line_without_the_identifier_of_the_run_is_not_an_event(self, line: str) -> None:
        assert parse_event(f"@transferpy {line}", RUN) is None

    @FUZZ_A_LITTLE
    @given(kind=st.sampled_from(sorted(_EVENTS.values(), key=str)), fields=fields)
    def test_a_session_handles_each_event_that_is_well_formed(self, kind: type[Event], fields: dict[str, str]) -> None:
        session = Session("db1")
        try:
            event = kind.parse(fields)
        except ProtocolError:
            return
        session.handle(event)
        assert session.has(kind)
        assert size(session.bytes)
        ports = [event.port for event in (session.last(Listening), session.last(Probing)) if event]
        assert all(port in range(1, 65536) for port in ports)

    @FUZZ
    @given(
        name=st.sampled_from(sorted(ANSWERS)),
        cut=st.integers(0, 12),
        value=st.one_of(
            words, words.map(lambda text: base64.b64encode(os.fsencode(text)).decode()), st.just("9" * 400)
        ),
    )
    @example(name="source", cut=1, value=base64.b64encode(b"../x").decode())
    @example(name="route", cut=2, value="fe80::1%!!SYSTEM:touch")
    def test_answers_are_facts_that_a_script_for_the_other_host_can_contain_or_an_error(
        self, name: str, cut: int, value: str
    ) -> None:
        pairs = ANSWERS[name].split()
        changed = (
            [*pairs[:cut], f"{pairs[cut].partition('=')[0]}={value}", *pairs[cut + 1 :]] if cut < len(pairs) else pairs
        )
        answers = {**ANSWERS, name: " ".join(changed)}
        output = [f"@transferpy {RUN} {key.partition(' ')[0]} {text}" for key, text in answers.items()]
        try:
            found = parse_facts("db1", RUN, QUERY, output)
        except ProtocolError:
            return
        assert found.source
        assert size(found.source.bytes)
        assert "/" not in found.source.name
        assert found.source.name not in {".", ".."}
        for route in found.routes.values():
            assert re.fullmatch(r"[0-9A-Fa-f:.]+", route.address + route.source)


def test_the_hostile_names_of_other_tests_are_among_the_cases(tmp_path: Path) -> None:
    script = "\n".join(f"printf '%s\\0' {render_argument(name)}" for name in HOSTILE_NAMES)
    assert printed(tmp_path, script) == list(HOSTILE_NAMES)

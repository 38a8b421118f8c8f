"""The parser of the events of a host: it finds each event among other lines, and rejects each malformed one."""

import base64
import os
import typing
from dataclasses import fields

import pytest
from bash import HOSTILE_NAMES, any_text
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.agent import protocol
from transferpy.agent.protocol import (
    AcceptPeer,
    Asked,
    End,
    Event,
    LinkMeasured,
    ProgressMade,
    ProtocolError,
    Ready,
    Receive,
    Resume,
    SampleTaken,
    Send,
    SessionFailed,
    SourceChanged,
    Stop,
    Total,
    parse_count,
    parse_event,
)

RUN = "0123456789abcdef"


def encoded(text: str) -> str:
    return base64.b64encode(os.fsencode(text)).decode()


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (f"@transferpy {RUN} asked", Asked()),
        (f"@transferpy {RUN} ready port=4400 certificate=", Ready(certificate="")),
        (f"  @transferpy {RUN} end undone=yes\r", End(undone=True)),
        (f"@transferpy {RUN} progress", ProgressMade(bytes=None)),
        (f"@transferpy {RUN} progress bytes=7 d", ProgressMade(bytes=7)),
        (f"@transferpy {RUN} sample size=8 trials=", SampleTaken(size=8, trials=())),
        (f"@transferpy {RUN} sample size=8 trials=zstd1:4:7", SampleTaken(size=8, trials=(("zstd1", 4, 7),))),
        (f"@transferpy {RUN} link", LinkMeasured(bytes=0, microseconds=0)),
        (f"@transferpy {RUN} changed paths={encoded(chr(0).join('ab') + chr(0))}", SourceChanged(paths=("a", "b"))),
        (f"@transferpy {RUN}", None),
        (f"@transferpy {RUN} ", None),
        ("@transferpy another asked", None),
        (f"transferpy {RUN} asked", None),
        ("Welcome to db1!", None),
        ("", None),
    ],
)
def test_a_line_is_an_event_of_this_run_or_no_event(line: str, event: Event | None) -> None:
    assert parse_event(line, RUN) == event


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("nonsense", "'nonsense': it is unknown"),
        ("sample size=8", "'sample': it lacks trials"),
        ("stages job=x", "'stages': it lacks statuses"),
        (f"progress {'x=1 ' * 32}", "'progress': it has more than 31 fields"),
        ("stages job=x statuses=0,-1", "'stages': statuses: '-1' is not a number from 0 to 2^64 - 1"),
        ("sample size=8 trials=zstd1", "'sample': trials: "),
        ("sample size=-8 trials=", "'sample': size: '-8' is not a number from 0 to 2^64 - 1"),
        (f"sample size={'9' * 5000} trials=", "'sample': size: '99999999999999999999' is not a number"),
        ("error kind=host text=%", "'error': text: '%' is not base64"),
        ("error kind=ho/st text=", "'error': kind: 'ho/st' is not a plain word"),
        ("end undone=maybe", "'end': undone: 'maybe' is neither yes nor no"),
        ("listening port=1 more=2,0", "'listening': more: '0' is not a port"),
        ("listening port=0", "'listening': port: '0' is not a port"),
        ("listening port=65536", "'listening': port: '65536' is not a port"),
        ("ready certificate=!", "'ready': certificate: '!' is not base64"),
        ("route index=0 address=x source=::1", "'route': address: 'x' does not appear to be"),
    ],
)
def test_a_malformed_event_is_an_error_that_names_the_event_and_the_problem(words: str, problem: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_event(f"@transferpy {RUN} {words}", RUN)
    assert str(raised.value).startswith(problem)


@given(rest=any_text)
def test_each_line_is_an_event_or_no_event_or_a_protocol_error(rest: str) -> None:
    for line in (rest, f"@transferpy {rest}", f"@transferpy {RUN} {rest}", f"{rest}@transferpy {RUN} x"):
        try:
            event = parse_event(line, RUN)
        except ProtocolError:
            continue
        assert event is None or event.event_name in line


@given(value=any_text)
@example(value="\n".join(HOSTILE_NAMES))
def test_any_text_comes_back_from_base64(value: str) -> None:
    assert parse_event(f"@transferpy {RUN} error kind=host text={encoded(value)}", RUN) == SessionFailed(
        kind="host", text=value
    )


def kinds() -> list[type[Event]]:
    return sorted(protocol._EVENTS.values(), key=lambda kind: kind.event_name)


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.event_name)
def test_each_field_of_an_event_has_a_parser_and_each_required_one_is_demanded(kind: type[Event]) -> None:
    assert kind.__doc__
    assert all(callable(typing.get_args(each.type)[1]) for each in fields(kind))
    if kind.required({}):
        with pytest.raises(ProtocolError, match=rf"'{kind.event_name}': it lacks "):
            kind.parse({})
    else:
        assert kind.parse({}) == kind()


@given(number=st.integers())
@example(number=(1 << 64) - 1)
@example(number=1 << 64)
def test_a_count_is_a_number_of_64_bits(number: int) -> None:
    if 0 <= number < 1 << 64:
        assert parse_count(str(number)) == number
    else:
        with pytest.raises(ValueError, match="is not a number from 0"):
            parse_count(str(number))


def test_a_link_without_a_measured_time_has_no_rate() -> None:
    assert LinkMeasured(bytes=500, microseconds=250_000).rate == 2000
    assert LinkMeasured(bytes=500, microseconds=0).rate is None


def test_the_round_trip_time_may_be_unknown() -> None:
    assert LinkMeasured(bytes=500, microseconds=250_000, rtt=35_100).round_trip == 0.0351
    assert LinkMeasured(bytes=500, microseconds=250_000).round_trip is None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Stop(), ["stop"]),
        (Receive("zstd1", 0, "a1"), ["receive", "zstd1", "0", "a1"]),
        (Receive("zstd1", 0, "a1", 3), ["receive", "zstd1", "0", "a1", "3"]),
        (AcceptPeer("QUJD"), ["peer", "QUJD"]),
        (
            Send("0", "no", "198.18.0.2", "4400", 0, 7, "a1", ""),
            ["send", "0", "no", "198.18.0.2", "4400", "0", "7", "a1"],
        ),
        (
            Send("0", "no", "::1", "4400,4401", 9, 7, "a1", "QQ"),
            ["send", "0", "no", "::1", "4400,4401", "9", "7", "a1", "QQ"],
        ),
        (Resume(3, 2, 1 << 40, "a1"), ["resume", "3", "2", str(1 << 40), "a1"]),
        (Total(0, 5), ["total", "0", "5"]),
    ],
)
def test_a_session_command_is_one_line_of_words(command: protocol.SessionCommand, words: list[str]) -> None:
    assert command.line.endswith("\n")
    assert command.line.split()[1:] == words


@given(codec=any_text)
def test_an_argument_that_is_not_one_word_is_never_sent(codec: str) -> None:
    try:
        line = Receive(codec, 0, "a1").line
    except ValueError:
        assert codec.split() != [codec]
        return
    assert len(line.splitlines()) == 1
    assert line.split()[2:] == [codec, "0", "a1"]


def test_a_last_word_may_be_empty() -> None:
    assert AcceptPeer("").line == "command peer\n"


def test_a_field_of_an_event_has_a_type_that_is_not_any() -> None:
    hints = [hint for kind in kinds() for name, hint in typing.get_type_hints(kind).items() if name != "event_name"]
    assert hints
    assert typing.Any not in hints

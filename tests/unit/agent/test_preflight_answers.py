"""The answers of a host become facts; an incomplete or malformed answer is an error that names the event."""

import pytest
from bash import HOSTILE_NAMES, any_text
from fleet import RUN
from hypothesis import example, given
from hypothesis import strategies as st
from preflight_output import ANSWERS, QUERY
from scripted import encoded

from transferpy.agent.preflight import PreflightQuery
from transferpy.agent.preflight_answers import parse_facts
from transferpy.agent.protocol import ProtocolError
from transferpy.model.facts import HostFacts, MountFacts, MountKind, RouteFacts, SourceFacts, TargetFacts, TargetState

FACTS = HostFacts(
    host="db1",
    uid=0,
    cores=4,
    boot="b1",
    tools=frozenset({"tar", "ss"}),
    listening=frozenset({22, 4400}),
    netcats={"nc": "OpenBSD netcat"},
    firewalls={"iptables": "-P INPUT DROP"},
    source=SourceFacts(
        directory="/srv",
        name="x",
        kind="d",
        identity="7:8",
        disk=4096,
        inodes=3,
        files=2,
        directories=1,
        bytes=4711,
        largest=4000,
        sockets=1,
        links_error="open_tree: no",
        mounts=(MountFacts(path="/srv/x/proc", type="proc", kind=MountKind.PSEUDO),),
    ),
    routes={
        0: RouteFacts(address="198.18.0.2", source="198.18.0.1"),
        1: RouteFacts(address="2001:db8::2", source="2001:db8::1"),
    },
    targets={
        0: TargetFacts(
            state=TargetState.DIRECTORY,
            path="/srv/y",
            ancestors=("7:9", "7:2"),
            taken=True,
            final_identity="7:11",
            free=12345,
            inodes=50,
            empty=False,
            leftovers=(".transferpy-0123456789abcdef-0",),
            mount="/srv",
        ),
        1: TargetFacts(state=TargetState.OTHER),
    },
    finished=(("target.fedcba", False),),
    memory=8_000_000_000,
    lists=90_000_000,
)


def parse(answers: dict[str, str], query: PreflightQuery = QUERY) -> HostFacts:
    lines = [f"@transferpy {RUN} {name.partition(' ')[0]} {fields}" for name, fields in answers.items()]
    return parse_facts("db1", RUN, query, lines)


def test_a_whole_answer_becomes_facts() -> None:
    assert parse(ANSWERS) == FACTS


def test_a_host_without_a_part_in_the_transfer_receives_a_short_preflight() -> None:
    assert parse(
        {"host": "uid=1000 cores=1 memory=0 lists=0 boot= tools= listening=", "asked": ""}, PreflightQuery()
    ) == HostFacts(host="db1", uid=1000, cores=1, boot="", tools=frozenset(), listening=frozenset(), lists=0)


def test_noise_between_the_answers_does_not_matter() -> None:
    lines = [f"@transferpy {RUN} {name.partition(' ')[0]} {fields}\r" for name, fields in ANSWERS.items()]
    noisy = [word for line in lines for word in ("Welcome!", line, "@transferpy other asked", "")]
    assert parse_facts("db1", RUN, QUERY, noisy) == FACTS


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("host", "'host': it is missing"),
        ("source", "the answers about the source do not belong to the query"),
        ("target", "the answers about the targets do not belong to the query"),
        ("target 2", "the answers about the targets do not belong to the query"),
        ("asked", "the answers about everything do not belong to the query"),
    ],
)
def test_a_missing_answer_is_an_error_that_names_it(name: str, about: str) -> None:
    with pytest.raises(ProtocolError, match=about):
        parse({key: value for key, value in ANSWERS.items() if key != name})


@pytest.mark.parametrize(
    ("query", "about"),
    [
        (PreflightQuery(database=("mariadb",)), "the server"),
        (PreflightQuery(owner="mysql"), "the owner"),
    ],
)
def test_a_missing_answer_about_a_server_or_an_owner_is_an_error(query: PreflightQuery, about: str) -> None:
    with pytest.raises(ProtocolError, match=f"the answers about {about} do not belong to the query"):
        parse({"host": ANSWERS["host"], "asked": ""}, query)


def test_an_answer_may_lack_a_route() -> None:
    found = parse({key: value for key, value in ANSWERS.items() if key != "route"})
    assert set(found.routes) == {1}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (name, word.partition("=")[0])
        for name, fields in ANSWERS.items()
        for word in fields.split()
        if name not in {"asked", "finished-dead-run"}
    ],
)
def test_a_missing_field_is_an_error_that_names_event_and_field(name: str, field: str) -> None:
    fields = " ".join(word for word in ANSWERS[name].split() if not word.startswith(f"{field}="))
    if name == "target 2" and field == "state":
        fields += " state=directory"  # the other fields are optional without a directory only
    event = name.partition(" ")[0]
    with pytest.raises(ProtocolError, match=f"'{event}': it lacks .*"):
        parse({**ANSWERS, name: fields})


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("host", "uid=root cores=4 boot=b1 tools= listening="),
        ("host", "uid=0 cores= boot=b1 tools= listening="),
        ("host", "uid=0 cores=4 memory=8000000000 lists=90000000 boot=b1 tools= listening=22,ssh"),
        ("route", "index=0 address=db2 source=198.18.0.1"),
        ("route", "index=0 address=198.18.0.2 source=dev"),
        ("route", "index=0 address=198.18.0.2 source=fe80::1%],verify=0!!SYSTEM:reboot,range=[::1"),
        ("route", "index=0 address=fe80::1%eth0 source=fe80::2"),
        ("source", ANSWERS["source"].replace(encoded("x"), encoded("../../etc"))),
        ("source", ANSWERS["source"].replace(encoded("x"), encoded(".."))),
        ("source", ANSWERS["source"].replace(encoded("x"), encoded(".\0."))),
        ("source", ANSWERS["source"].replace("bytes=4711", f"bytes={'9' * 400}")),
        ("route", "index=7 address=198.18.0.2 source=198.18.0.1"),
        ("source", ANSWERS["source"].replace("disk=4096", "disk=much")),
        ("target", ANSWERS["target"].replace("index=0", "index=2")),
        ("target", ANSWERS["target"].replace("free=12345", "free=")),
        ("target", ANSWERS["target"].replace("inodes=100:50", "inodes=")),
        ("target", ANSWERS["target"].replace("state=directory", "state=")),
    ],
)
def test_a_malformed_answer_is_an_error(name: str, fields: str) -> None:
    with pytest.raises(ProtocolError, match=r"'.*': "):
        parse({**ANSWERS, name: fields})


@given(
    name=st.sampled_from(sorted(ANSWERS)),
    position=st.integers(0, 200),
    rest=any_text.filter(lambda text: "\n" not in text),
)
@example(name="host", position=4, rest="9" * 5000)
def test_no_answer_makes_the_parser_stumble(name: str, position: int, rest: str) -> None:
    try:
        found = parse({**ANSWERS, name: ANSWERS[name][:position] + rest})
    except ProtocolError:
        return
    assert found.host == "db1"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_come_as_they_are(name: str) -> None:
    fields = ANSWERS["source"].replace(f"name={encoded('x')}", f"name={encoded(name)}")
    found = parse({**ANSWERS, "source": fields})
    assert found.source is not None
    assert found.source.name == name


def test_a_source_that_is_not_there_has_no_totals() -> None:
    fields = f"directory={encoded('/srv')} name={encoded('x')} kind= server=no identity= error="
    fields += " disk=0 inodes=0 files=0 directories=0 bytes=0 largest=0 sockets=0 links_error="
    found = parse({name: values for name, values in ANSWERS.items() if name != "mount"} | {"source": fields})
    assert found.source == SourceFacts(directory="/srv", name="x", kind="", identity="")


def test_a_file_system_that_makes_inodes_as_needed_has_no_number_of_free_ones() -> None:
    found = parse({**ANSWERS, "target": ANSWERS["target"].replace("inodes=100:50", "inodes=0:0")})
    assert found.targets[0].inodes is None

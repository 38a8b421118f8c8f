"""Compares the README and the manual with the code that they describe."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from bash import run_bash
from pages import DOCS, MODES, Block, Typed, blocks, literals, page_names, typed_by_tests

from transferpy import transfer
from transferpy.agent import preflight_connection, session_manager
from transferpy.cli.arguments import argument_parser
from transferpy.cli.command_line import parse_command_line
from transferpy.engine import handshake, root_cause, stream_run
from transferpy.model.options import TransferOptions

ROOT = Path(__file__).parents[2]
HOST = ROOT / "transferpy/host"
SCRIPTS = [path.read_text() for path in HOST.rglob("*.sh") if path.parent.name not in {"preflight", "tools"}]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.rst").read_text()
MESSAGES = (ROOT / "docs/messages.rst").read_text()
PLACEHOLDER = re.compile(r"\b(?:ADDRESS|EVENT|HOST(?!:PATH)|KEY|N|NAME|(?<!HOST:)PATH|RUN|SOURCE|TARGET|TOOL|WORD)\b")
UNNAMED = "\0"
"""The placeholder for values that the code inserts into a message."""


def section(title: str) -> str:
    """Return the text of a section of the README."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows_of_lists(text: str) -> list[str]:
    """Return the rows of the list tables in a text, without the header rows."""
    tables = re.findall(r"^\.\. list-table::.*\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    return [row for table in tables for row in table.split("\n   * - ")[2:]]


def test_the_readme_opens_with_the_two_commands() -> None:
    commands = [line.strip() for line in README.splitlines() if line.startswith("    ")]
    assert commands[:2] == ["make demo", "make test"]


def test_the_readme_installs_as_the_manual_does() -> None:
    commands = re.findall(r"^    (.+)$", section("Installation"), re.MULTILINE)
    assert commands == [typed.command for block in blocks("installation") if block.by_hand for typed in block.typed()]


def test_the_usage_line_is_that_of_the_parser() -> None:
    assert argument_parser("").format_usage().split() == ["usage:", *section("Usage").split("\n\n")[0].split()]


def test_the_sample_configuration_is_valid(tmp_path: Path) -> None:
    sample = tmp_path / "transferpy.conf"
    block = section("Usage").partition("    [DEFAULT]")
    sample.write_text("[DEFAULT]" + block[2].partition("\n\n")[0].replace("\n    ", "\n"))
    assert transfer.parse_configurations(sample) == {"port": "4444", "encrypt": "false"}


def test_every_link_of_the_readme_has_a_target() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
    headings = {f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^#+ (.*)$", README, re.MULTILINE)}
    assert set(re.findall(r"\]\((#[^)]+)\)", README)) <= headings


def test_every_make_command_of_readme_and_manual_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make (\w+)", README) + re.findall(r"^    make (\w+)$", README, re.MULTILINE))
    assert named >= {"demo", "test", "lint", "bench", "docs", "help", "clean"}
    for page in page_names():
        text = (DOCS / f"{page}.rst").read_text()
        named |= set(re.findall(r"``make (\w+)``", text) + re.findall(r"^ *checkout# make (\w+)", text, re.MULTILINE))
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


# --- messages


def texts_in(node: ast.AST) -> str:
    """Return a message of Python code, with UNNAMED in place of inserted values."""
    match node:
        case ast.Constant(value=str() as text):
            return re.sub(r"%[sd.0-9f]+", UNNAMED, text)
        case ast.JoinedStr(values=values):
            return "".join(map(texts_in, values))
    return UNNAMED


@cache
def python_messages(path: Path) -> tuple[str, ...]:
    """Return all string literals of a module."""
    return tuple(
        text
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr | ast.Constant) and len(text := texts_in(node)) > 1
    )


@cache
def refusals() -> tuple[str, ...]:
    """Return the reasons with which the checks can refuse a transfer."""
    planning = ROOT / "transferpy/planning"
    modules = (planning / "checks.py", *sorted((planning / "types").glob("*.py")))
    trees = [ast.parse(path.read_text()) for path in modules]
    yields = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Yield) and node.value]
    texts = map(texts_in, yields)
    return tuple(text for text in texts if text != UNNAMED)  # a missing program: the message is that of a function


@cache
def shell_messages() -> tuple[str, ...]:
    """Return the error messages of the host scripts."""
    scripts = "".join(SCRIPTS)
    found = re.findall(r'\bfail \w+ "((?:[^"$]|\$\([^)]*\)|\$)*)"', scripts)
    assert len(found) == len(re.findall(r'\bfail \w+ "', scripts))
    return tuple(re.sub(r"\$\(.*\)|\$[\w*]+|\$\{[^}]*\}", UNNAMED, text) for text in found)


def documented() -> list[str]:
    """Return the messages of the page of messages, with UNNAMED in place of placeholders."""
    messages = [row.partition("``\n     - ")[0].removeprefix("``") for row in rows_of_lists(MESSAGES)]
    return [PLACEHOLDER.sub(UNNAMED, message) for message in messages]


def is_of(message: str, text: str) -> bool:
    """Return whether a documented message is a part of a text of the code."""
    return normal(message) in normal(text)


def normal(text: str) -> str:
    """Return a text without its host, and with one UNNAMED in place of several adjacent ones."""
    return re.sub(f"{UNNAMED}+", UNNAMED, text).removeprefix(f"{UNNAMED}: ").strip(UNNAMED)


def all_texts() -> tuple[str, ...]:
    modules = sorted((ROOT / "transferpy").rglob("*.py"))
    programs = sorted((ROOT / "transferpy" / "host" / "perl").glob("*.pl"))
    variable = r"\$\w+(?:\[\w+\])?"
    printed = tuple(
        re.sub(variable, UNNAMED, text)
        for program in programs
        for text in re.findall(r'"([^"\n]+)\\n"', program.read_text())
    )
    return tuple(text for module in modules for text in python_messages(module)) + shell_messages() + printed


@pytest.mark.parametrize("message", documented())
def test_every_message_of_the_page_of_messages_exists_in_the_code(message: str) -> None:
    assert any(is_of(message, text) for text in all_texts())


@pytest.mark.parametrize("text", refusals())
def test_every_message_of_a_preflight_check_is_on_the_page_of_messages(text: str) -> None:
    assert any(is_of(message, text) for message in documented())


NEVER_SEEN = {
    "cannot read /proc",  # there is no such Linux
    f"unexpected session command: {UNNAMED}",  # would be a bug
}


@pytest.mark.parametrize("text", sorted(set(shell_messages()) - NEVER_SEEN))
def test_every_error_of_a_session_is_on_the_page_of_messages(text: str) -> None:
    assert any(is_of(message, text) for message in documented())


def test_messages_that_need_no_entry_are_messages() -> None:
    assert set(shell_messages()) >= NEVER_SEEN


def test_every_message_is_on_the_page_of_messages_only_once() -> None:
    assert len(documented()) > 90
    assert sorted(set(documented())) == sorted(documented())


# --- commands

RUN_BY_TESTS = {
    "configuration": "test_pages.py",
    "contributing": "test_pages.py",
    "installation": "test_pages.py",
    "networks": "test_pages.py",
    "nightly": "test_runbooks.py",
    "operating": "test_pages.py",
    "python": "test_pages.py",
    "runbooks": "test_runbooks.py",
    "tutorial": "test_pages.py",
}
"""The pages with commands, and the test files that run all commands of the page in order."""
BLOCKS = [block for page in page_names() for block in blocks(page)]
BY_HAND = [block for block in BLOCKS if block.by_hand]
TYPED = [typed for page in RUN_BY_TESTS for section in typed_by_tests(page).values() for typed in section]
SHOWN = [line for page in page_names() for line in literals(page)]
PROGRAMS = ("apt", "apt-get", "cp", "git", "ln", "make", "mariadb", "nft", "pip", "python3", "ssh", "systemctl", "tox")


def transfers() -> list[str]:
    """Return every command line of transfer.py in the manual and the README, without pipes and redirections."""
    typed = [line for typed in TYPED for line in typed.command.replace("\\\n", "").splitlines()]
    lines = [line.strip().rpartition("  transfer.py") for line in (*SHOWN, *typed, *README.splitlines())]
    words = [re.sub(r"\$\([^)]*\)", "WORD", "".join(parts[1:]).strip()) for parts in lines]
    found = {re.split(r" (?:\|\|?|>) ", line)[0] for line in words if line.startswith("transfer.py ")}
    return sorted(line for line in found if "[OPTIONS]" not in line)


def test_a_prompt_can_name_several_hosts_and_a_block_one_kind_of_replication() -> None:
    text = "db1,db2# cat <<END\n> a\n> END\norch# ls\n"
    block = Block(page="", section="", language="console", options=":caption: Only with GTIDs\n", text=text)
    assert [(typed.host, typed.command) for typed in block.typed()] == [
        *(("db1", "cat <<END\na\nEND"), ("db2", "cat <<END\na\nEND"), ("orch", "ls"))
    ]
    assert [block.is_for(mode) for mode in ("", *MODES)] == [True, False, True]
    with pytest.raises(ValueError, match="neither a command"):
        replace(block, text="db1,nobody# ls\n").typed()
    captions = {line for block in BLOCKS for line in re.findall(":caption: (Only .*)", block.options)}
    assert captions == {f"Only with {mode}" for mode in MODES}


def test_every_block_of_commands_is_run_by_a_test_or_has_a_caption_with_the_reason() -> None:
    of_commands = [block for block in BLOCKS if block.language not in {"ini", "yaml", "none"}]
    assert {block.language for block in of_commands} == {"console", "python"}
    assert {block.page for block in of_commands if not block.by_hand} == set(RUN_BY_TESTS)
    assert len([block for block in of_commands if not block.by_hand]) > 40
    for page, name in RUN_BY_TESTS.items():
        assert f'"{page}"' in (ROOT / "tests/integration" / name).read_text()


def test_few_blocks_are_by_hand_and_each_has_a_reason() -> None:
    assert 0 < len(BY_HAND) <= 8
    assert [block.text for block in BY_HAND if len(block.reason) < 20] == []
    assert all(block.typed() for block in BY_HAND)


def test_no_literal_block_contains_a_command() -> None:
    assert len(SHOWN) > 30
    assert [line for line in SHOWN if re.match(rf"(\S+[#$] )?({'|'.join(PROGRAMS)})( |$)", line)] == []


def test_there_are_runbooks_for_replicas_for_nightly_copies_and_for_restoring() -> None:
    typed_in = {title: len(typed) for title, typed in typed_by_tests("runbooks").items()}
    assert list(typed_in) == [
        "A new replica, from an existing one",
        "Build three replicas from one",
        "Rebuild a delayed replica",
        "Replace data without space for a second copy",
        "Apply the late transactions of a delayed replica",
        "Nightly copies from cron",
        "Restore a nightly tarball",
        "Point-in-time recovery from a nightly copy",
        "When something went wrong",
    ]
    assert all(typed_in.values())


def test_no_runbook_removes_data_before_transfer_py_has_checked_that_a_copy_can_be_made() -> None:
    for title, commands in typed_by_tests("runbooks").items():
        removing = [n for n, typed in enumerate(commands) if re.search(r"-delete$|rm -r .*sqldata", typed.command)]
        checking = [n for n, typed in enumerate(commands) if typed.command.startswith("transfer.py ")]
        assert not removing or min(removing) > min(checking), title


@pytest.mark.parametrize("typed", [*TYPED, *(typed for block in BY_HAND for typed in block.typed())])
def test_every_command_of_the_manual_is_valid_bash(typed: Typed) -> None:
    assert run_bash(f"set -n\n{typed.command}\n").stderr == b""


@pytest.mark.parametrize("command", transfers())
def test_the_parser_accepts_every_transfer_of_the_manual(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    if "--version" in sys.argv:
        return
    assert parse_command_line("/nowhere/at.all")


OF_TAR = {"--hole-detection", "--keep-old-files", "--sparse", "--null", "--no-recursion", "--files-from"}
OF_BINLOG = {"--start-position", "--stop-position", "--stop-datetime"}
OF_OTHER_PROGRAMS = OF_TAR | OF_BINLOG | {"--no-", "--no-index", "--no-build-isolation", "--update-golden"}


@pytest.mark.parametrize("page", [*page_names(), "README"])
def test_an_option_that_a_page_names_is_one_of_the_program(page: str) -> None:
    text = README.replace("`", "``") if page == "README" else (DOCS / f"{page}.rst").read_text()
    words = {word for span in re.findall(r"``(--[^`]+)``", text) for word in re.findall(r"--[a-z][\w-]*", span)}
    known = {word for action in argument_parser("")._actions for word in action.option_strings}
    assert words - known - OF_OTHER_PROGRAMS == set()


def test_the_runbooks_have_transfers_of_servers_and_tarballs() -> None:
    typed = "\n".join(typed.command for section in typed_by_tests("runbooks").values() for typed in section)
    types = re.findall(r"^transfer\.py --type (\w+) ", typed, re.MULTILINE)
    assert types == [*(["xtrabackup"] * 4), "decompress"]


def test_readme_and_manual_have_transfers() -> None:
    assert len(transfers()) > 20


# --- security

SECURITY = (ROOT / "docs/security.rst").read_text()
TESTS = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("test", sorted(set(re.findall(r"``(test_\w+)``", SECURITY))))
def test_every_test_that_the_page_on_security_names_exists(test: str) -> None:
    assert re.search(rf"^ *def {test}\(", TESTS, re.MULTILINE)


def test_every_attack_and_fault_of_the_page_on_security_names_a_test() -> None:
    listed = rows_of_lists(SECURITY.partition("\nAttacks\n")[2])
    assert len(listed) > 20
    assert [row for row in listed if not re.search(r"``test_\w+``", row)] == []


TIMES = {
    "--connect-timeout": f"{TransferOptions.connect_timeout} seconds",
    "--idle-timeout": f"{TransferOptions.idle_timeout} seconds",
    "--stall-timeout": f"{TransferOptions.stall_timeout} seconds",
    "answers the preflight query": f"{preflight_connection._ANSWER_TIME:.0f} seconds",
    "the shell of the preflight receives": f"{preflight_connection._WAITING_TIME:.0f} seconds",
    "a heartbeat of a session": f"{session_manager._SILENCE:.0f} seconds",
    "is ready, or listens": f"{stream_run._READY_TIME:.0f} seconds",
    "the error message of the other end": f"{root_cause._OTHER_END_TIME:.0f} seconds",
    "the packets of a connection that failed": f"{handshake._EXAMINATION_TIME:.0f} seconds",
    "the end of a clean-up": f"{session_manager._CLEAN_UP_TIME:.0f} seconds",
}


@pytest.mark.parametrize("what", TIMES)
def test_the_table_of_time_outs_has_the_values_of_the_program(what: str) -> None:
    (row,) = (row for row in rows_of_lists(SECURITY.partition("\nWho is trusted")[0]) if what in row)
    assert TIMES[what] in row


# --- architecture


def test_the_table_of_parts_in_the_architecture_has_every_part_of_the_package() -> None:
    parts = {path.name for path in (ROOT / "transferpy").iterdir() if path.is_dir() or path.suffix == ".py"}
    parts -= {"__init__.py", "__pycache__"}
    (table,) = re.findall(r"^   \* - part\n(.*?)^\S", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    named = {
        name for row in table.split("\n   * - ")[1:] for name in re.findall(r"``(\w+(?:\.py)?)``", row.split("\n")[0])
    }
    assert named == parts


@pytest.mark.parametrize(
    "event", sorted({name for text in SCRIPTS for name in re.findall(r"\bemit ([a-z][a-z-]+)", text)} - {"firewall"})
)
def test_every_event_of_a_session_is_in_the_architecture(event: str) -> None:
    assert f"``{event}``" in ARCHITECTURE


@pytest.mark.parametrize(
    "command",
    sorted({word for text in SCRIPTS for word in re.findall(r"\b(?:command_handler|at_once)\[([a-z]+)\]=", text)}),
)
def test_every_session_command_is_in_the_architecture(command: str) -> None:
    assert re.search(rf"   \* - ``{command}\b", ARCHITECTURE)


def test_every_command_and_event_in_the_picture_of_a_session_is_in_the_tables() -> None:
    picture = (DOCS / "pictures/session.svg").read_text()
    for kind in ("command", "event"):
        words = re.findall(r"\w+", " ".join(re.findall(rf'class="[^"]*\b{kind}"[^>]*>([^<]+)', picture)))
        assert words, kind
        assert [word for word in words if not re.search(rf"^   \* - .*``{word}\b", ARCHITECTURE, re.MULTILINE)] == []

"""The assembly of scripts: each file once, after the files that it requires."""

import itertools
import re
from pathlib import Path

import pytest
from bash import output_of

from transferpy import host
from transferpy.engine.stream_run import CHECK_TASKS
from transferpy.host import HOST, assemble, perl_program


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return a dictionary that is in place of the directory of files."""
    found: dict[str, str] = {}
    monkeypatch.setattr(host, "_file", found.__getitem__)
    monkeypatch.setattr(host, "_in_order", host._in_order.__wrapped__)
    return found


def test_a_task_whose_failure_stops_the_work_of_a_session_fails_the_stream() -> None:
    """After such a failure, the session waits for commands. The orchestration host has to know the name of the task."""
    stops = re.compile(r"run_task (\S+) .*\|\| (?:return|exit)")
    found = {task for path in HOST.rglob("*.sh") for task in stops.findall(path.read_text(encoding="utf-8"))}
    assert {"redo_log", "tables"} <= found <= {*CHECK_TASKS}


def test_each_file_stands_once_and_after_those_that_it_requires(files: dict[str, str]) -> None:
    files |= {
        "top": "# requires: left right\necho top",
        "left": "# requires: base\necho left",
        "right": "# requires: base\necho right",
        "base": "echo base",
    }
    assert output_of(assemble("top", "base", call="echo call")) == b"base\nleft\nright\ntop\ncall\n"


def test_variables_and_functions_stand_before_the_call(files: dict[str, str]) -> None:
    files["base"] = "value=default"
    functions = ['print_value() { printf "%s|" "$value"; }']
    script = assemble("base", variables={"value": "it's $(new)"}, functions=functions, call="print_value")
    assert output_of(script) == b"it's $(new)|"


def test_a_perl_file_is_a_variable_with_all_that_it_requires(files: dict[str, str]) -> None:
    files |= {
        "main": "# requires: perl/program",
        "perl/program": "# requires: perl/names\nprint qq{it's $name\\n};",
        "perl/names": "my $name = 'perl';",
    }
    assert output_of(assemble("main", call='perl -e "$perl_program"')) == b"it's perl\n"
    assert "perl_names" not in assemble("main")


def test_files_that_require_each_other_are_an_error(files: dict[str, str]) -> None:
    files |= {"a": "# requires: b", "b": "# requires: c", "c": "# requires: b"}
    with pytest.raises(ValueError, match=r"^circular requirement: a -> b -> c -> b$"):
        assemble("a")


@pytest.mark.parametrize("name", ["lib/none", "perl/none"])
def test_a_file_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=f"^unknown requirement: {name}$"):
        assemble(name)


def names(suffix: str) -> list[str]:
    return sorted(str(path.relative_to(HOST).with_suffix("")) for path in HOST.rglob(f"*{suffix}"))


def functions_of(text: str) -> set[str]:
    return set(re.findall(r"^(\w+)\(\)", text, re.MULTILINE))


SHELL = {name: (HOST / f"{name}.sh").read_text() for name in names(".sh")}
ALL_FUNCTIONS = set().union(*map(functions_of, SHELL.values())) - {"exit"}


@pytest.mark.parametrize("name", SHELL)
def test_a_file_requires_all_files_whose_functions_it_calls(name: str) -> None:
    code = re.sub(r"(^|\s)#.*", "", SHELL[name])
    called = set(
        re.findall(
            r"(?:^|[;|&(!]|\{ |\b(?:if|until|while|then|do|else|(?:start_task|run_task|on_undo) \S+|trap))\s*(\w+)",
            code,
            re.MULTILINE,
        )
    )
    assert sorted(called & ALL_FUNCTIONS - functions_of(assemble(name))) == []


@pytest.mark.parametrize("name", names(".pl"))
def test_perl_programs_compile(name: str) -> None:
    assert output_of('perl -cw -e "$1" 2>&1', perl_program(name)) == b"-e syntax OK\n"


@pytest.mark.parametrize("path", sorted(HOST.rglob("*.sh")), ids=lambda path: path.stem)
def test_no_script_waits_for_a_process_substitution(path: Path) -> None:
    """bash 5.2 can have forgotten that it has ended, and then waits for ever: once in 1,500 runs on a busy machine."""
    for before, line in itertools.pairwise(path.read_text().splitlines()):
        assert not re.search(r"\bwait .*\$!", line) or before.endswith(" &")

"""The renderer: bash gets every argument unchanged, and every exit status of a pipeline is known."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from bash import HOSTILE_NAMES, PIPES, any_text, output_of, run_bash
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.RemoteExecution.running_job import pack_script
from transferpy.stream.commands import Command, Drain, Pipeline, Stage, Tee, Variable, Watched, join
from transferpy.stream.renderer import (
    render_argument,
    render_assignment,
    render_command,
    render_function,
    render_function_of_all,
    render_pipeline,
    render_pipeline_function,
)

PRINT = ("printf", r"%s\0")


def records(*values: str) -> bytes:
    return b"".join(os.fsencode(value) + b"\0" for value in values)


@given(words=st.lists(any_text, min_size=1))
@example(words=list(HOSTILE_NAMES))
@example(words=[""])
def test_a_command_gets_any_argument_unchanged(words: list[str]) -> None:
    assert output_of(render_command(Command((*PRINT, *words)))) == records(*words)


@given(value=any_text)
@example(value="\n".join(HOSTILE_NAMES))
def test_a_variable_gets_any_value_and_a_command_gets_the_value_of_a_variable(value: str) -> None:
    script = f"{render_assignment('x', value)}\n{render_command(Command((*PRINT, Variable('x'))))}"
    assert output_of(script) == records(value)


@given(before=any_text, value=any_text, after=any_text)
def test_parts_are_joined_to_one_argument(before: str, value: str, after: str) -> None:
    command = Command((*PRINT, join(before, Variable("x"), after), join(Variable("x"))))
    script = f"{render_assignment('x', value)}\n{render_command(command)}"
    assert output_of(script) == records(before + value + after, value)


def test_an_argument_without_anything_special_stays_readable() -> None:
    assert render_argument("--file=/srv/sqldata") == "--file=/srv/sqldata"


def test_a_function_runs_its_commands_in_turn_and_stops_at_the_first_that_fails() -> None:
    commands = (Command(("echo", "one")), Command(("exit_with", "7")), Command(("echo", "two")))
    result = run_bash('exit_with() { return "$1"; }\n' + render_function("all", commands) + "\nall")
    assert (result.stdout, result.returncode) == (b"one\n", 7)


@pytest.mark.parametrize(("status", "expected"), [("0", 0), ("7", 1)])
def test_a_function_of_all_commands_runs_each_of_them(status: str, expected: int) -> None:
    commands = (Command(("echo", "one")), Command(("exit_with", status)), Command(("echo", "two")))
    result = run_bash('exit_with() { return "$1"; }\n' + render_function_of_all("all", commands) + "\nall")
    assert (result.stdout, result.returncode) == (b"one\ntwo\n", expected)


def test_a_function_without_commands_succeeds() -> None:
    assert output_of(render_function("nothing", ()) + "\nnothing; echo $?") == b"0\n"


def run_pipeline(directory: Path, *stages: Stage, given: str = "stream", before: str = "") -> tuple[str, list[int]]:
    """Run a pipeline; return its output, and the statuses that it leaves behind."""
    script = "\n".join(
        [
            PIPES,
            before,
            render_assignment("run_directory", str(directory)),
            render_pipeline_function("stream", Pipeline(stages)),
            f"stream < <(printf %s {render_argument(given)})",  # a stage need not read it
            'echo "${statuses[*]}" >"$run_directory/statuses"',
        ]
    )
    output = output_of(script).decode()
    return output, [int(word) for word in (directory / "statuses").read_text().split()]


def shell(script: str) -> Command:
    return Command(("sh", "-c", script))


class TestPipeline:
    def test_each_stage_reads_the_output_of_the_one_before(self, tmp_path: Path) -> None:
        stages = (Command(("tr", "a-z", "A-Z")), Command(("rev",)))
        assert run_pipeline(tmp_path, *stages, given="abc\n") == ("CBA\n", [0, 0])

    def test_every_stage_leaves_its_status_and_its_errors(self, tmp_path: Path) -> None:
        stages = tuple(shell(f"echo words of {status} >&2; cat; exit {status}") for status in (0, 3, 0, 5))
        assert run_pipeline(tmp_path, *stages) == ("stream", [0, 3, 0, 5])
        assert [(tmp_path / f"stream.{number}.err").read_text() for number in range(4)] == [
            f"words of {status}\n" for status in (0, 3, 0, 5)
        ]

    def test_a_single_stage_leaves_its_status(self, tmp_path: Path) -> None:
        assert run_pipeline(tmp_path, shell("exit 4")) == ("", [4])

    def test_the_names_stand_in_the_order_of_the_statuses(self) -> None:
        stages = (Command(("tar", "-c")), Tee(Command(("md5sum",)), "digest"), Drain(Command(("cat",))))
        assert Pipeline(stages).names == ("tar", "md5sum", "cat")

    @pytest.mark.parametrize("before", [(), (shell("cat"),)], ids=["first", "last"])
    def test_a_watched_stage_runs_its_command_and_leaves_its_status(
        self, tmp_path: Path, before: tuple[Stage, ...]
    ) -> None:
        watched = Watched(shell("tr a-z A-Z; echo words >&2; exit 3"), ("3", "1", "2", "send", "yes"))
        assert run_pipeline(tmp_path, *before, watched) == ("STREAM", [*(0 for _ in before), 3])
        assert (tmp_path / f"stream.{len(before)}.err").read_text() == "words\n"

    def test_a_watched_stage_is_its_command_for_people(self) -> None:
        watched = Watched(Command(("nc", "-l", "4400")), ("3", "1", "2", "receive", "no"))
        assert render_pipeline(Pipeline((watched, Command(("cat",))))) == "nc -l 4400 | cat"
        assert Pipeline((watched,)).names == ("nc",)

    def test_a_drain_reads_the_rest_after_success_so_that_no_stage_gets_sigpipe(self, tmp_path: Path) -> None:
        much = shell("head -c 3000000 /dev/zero")
        assert run_pipeline(tmp_path, much, Command(("true",)))[1][0] == 141
        assert run_pipeline(tmp_path, much, Drain(Command(("true",)))) == ("", [0, 0])

    def test_a_drain_fails_as_its_command_does(self, tmp_path: Path) -> None:
        assert run_pipeline(tmp_path, shell("echo x"), Drain(shell("cat >/dev/null; exit 9"))) == ("", [0, 9])

    def test_a_branch_sees_all_of_the_stream_and_has_ended_before_the_pipeline_has(self, tmp_path: Path) -> None:
        passed = tmp_path / "passed"
        slow = shell(f"cat; until [ -e {passed} ]; do sleep 0.01; done; echo ' and more'")
        stages = (Tee(slow, join(Variable("run_directory"), "/copy")), shell(f"cat; : >{passed}"))
        assert run_pipeline(tmp_path, *stages) == ("stream", [0, 0])
        assert (tmp_path / "copy").read_text() == "stream and more\n"

    @pytest.mark.parametrize("numbers", ["x86_64 => ", "another => "])
    def test_both_readers_of_a_tee_get_every_byte_however_they_read(self, tmp_path: Path, numbers: str) -> None:
        # On a machine that it does not know all is copied.
        before = f"perl_tee=${{perl_tee/x86_64 => /{numbers}}}"
        data = random.Random(5).randbytes(3_000_001)
        (tmp_path / "data").write_bytes(data)
        small, large = (
            shell("dd bs=777 status=none"),
            shell(f"dd bs=1M iflag=fullblock of={tmp_path}/large status=none"),
        )
        stages = (shell(f"cat {tmp_path}/data"), Tee(small, join(Variable("run_directory"), "/small")), large)
        assert run_pipeline(tmp_path, *stages, before=before) == ("", [0, 0, 0])
        assert (tmp_path / "small").read_bytes() == data
        assert (tmp_path / "large").read_bytes() == data

    def test_a_branch_that_fails_shows_in_the_status_of_its_stage(self, tmp_path: Path) -> None:
        branch = shell("cat >/dev/null; echo lost >&2; exit 6")
        assert run_pipeline(tmp_path, Tee(branch, "/dev/null"), Command(("cat",))) == ("stream", [6, 0])
        assert (tmp_path / "stream.0.err").read_text() == "lost\n"

    def test_nothing_is_read_any_more_when_a_branch_or_a_later_stage_has_died(self, tmp_path: Path) -> None:
        endless = Command(("yes",))
        digest = Tee(Command(("md5sum",)), "/dev/null")
        assert run_pipeline(tmp_path, endless, Tee(shell("exit 8"), "/dev/null"), shell("cat >/dev/null")) == (
            "",
            [141, 8, 0],
        )
        assert run_pipeline(tmp_path, endless, digest, shell("exit 9")) == ("", [141, 141, 9])

    def test_a_pipeline_runs_again_despite_the_files_of_its_last_run(self, tmp_path: Path) -> None:
        stages = (Tee(Command(("md5sum",)), join(Variable("run_directory"), "/digest")), Command(("cat",)))
        for _ in range(2):
            assert run_pipeline(tmp_path, *stages) == ("stream", [0, 0])

    def test_a_run_directory_may_hold_blanks(self, tmp_path: Path) -> None:
        directory = tmp_path / "a b'$"
        directory.mkdir()
        output, statuses = run_pipeline(directory, Tee(Command(("md5sum",)), "/dev/null"), Command(("cat",)))
        assert (output, statuses) == ("stream", [0, 0])


KNOWN_SHELLS = ("bash", "sh", "dash", "csh", "tcsh", "fish", "zsh", "ksh")
LOGIN_SHELLS = [path for name in KNOWN_SHELLS if (path := shutil.which(name))]


@pytest.mark.parametrize("login_shell", LOGIN_SHELLS)
class TestWrappedScript:
    """sshd hands the line to the login shell of root; ``LOGIN_SHELLS`` are the installed ones."""

    @staticmethod
    def _run(login_shell: str, line: str) -> bytes:
        result = subprocess.run([login_shell, "-c", line], capture_output=True, timeout=60, check=True)
        assert result.stderr == b""
        return result.stdout

    def test_any_script_runs_as_it_is(self, login_shell: str) -> None:
        @given(words=st.lists(any_text, min_size=1))
        @example(words=list(HOSTILE_NAMES))
        def check(words: list[str]) -> None:
            line = pack_script(render_command(Command((*PRINT, *words))))
            assert self._run(login_shell, line) == records(*words)

        check()

    def test_a_script_can_have_many_lines_and_arguments(self, login_shell: str) -> None:
        line = pack_script('if true; then\n  printf "%s\\n" "$0" "$@"\nfi', "job1", "two")
        assert self._run(login_shell, line) == b"transferpy\njob1\ntwo\n"

    def test_a_long_script_fits(self, login_shell: str) -> None:
        assert self._run(login_shell, pack_script("#" + "x" * 500_000 + "\necho here")) == b"here\n"


@given(words=st.lists(any_text))
def test_a_wrapped_script_is_one_line_without_anything_that_others_replace(words: list[str]) -> None:
    line = pack_script("\n".join(words), "job1")
    assert not set(line) & set("\n\r%!\\")  # ClusterShell replaces %h, csh !, fish the backslash
    assert line.isascii()


@pytest.mark.parametrize("word", ["", "two words", "$(x)", "%h", "a'b", "né", "a\nb", "~", "*"])
def test_only_plain_words_are_arguments_of_a_wrapped_script(word: str) -> None:
    with pytest.raises(ValueError, match="not a plain word"):
        pack_script("true", word)

"""The coverage of the tests: the lines that count as executed, and the figures that are a failure."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab.measured import sitecustomize, variables
from measurement import shell
from measurement.report import FileCoverage, broken_bounds, table
from measurement.shell import ShellFiles, commands, shell_files

from transferpy.RemoteExecution.running_job import pack_script

ROOT = Path(__file__).resolve().parents[2]

LIBRARY = b"""\
# A comment
helper() { # 2
  case $1 in
    yes) echo 4 ;;
    no)
      echo 6
      ;;
  esac
}
"""
MAIN = b"""\
run() { # 1
  helper yes || {
    echo "$(
      echo 4)"
    return 1
  }
  [ "$1" = x ] ||
    echo 8 \\
      9
  (: 10)
  for word in 1 2; do
    : "$word"
  done
}
"""
FILES = ShellFiles({"lib.sh": LIBRARY, "main.sh": MAIN})
SCRIPT = LIBRARY + MAIN + b"number=1\nrun y\n"


@pytest.fixture
def traced(tmp_path: Path) -> Path:
    """A checkout that has nothing but the file with which bash writes traces."""
    (tmp_path / "tests/measurement").mkdir(parents=True)
    (tmp_path / ".cache/coverage").mkdir(parents=True)
    shutil.copy(ROOT / "tests/measurement/trace.sh", tmp_path / "tests/measurement")
    return tmp_path


def run(traced: Path, *command: str, **variables: str) -> tuple[str, shell.Lines]:
    """Return the output of a command, and the lines of the two files that its traces contain."""
    environment = {**os.environ, **variables, "BASH_ENV": str(traced / "tests/measurement/trace.sh")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not ended.stderr
    traces = (path.read_bytes() for path in (traced / ".cache/coverage").iterdir())
    return ended.stdout, FILES.executed(traces)


def test_a_command_counts_where_it_begins_and_not_within_a_substitution() -> None:
    assert sorted(set(commands(LIBRARY))) == [(3, 3), (4, 4), (6, 6)]
    assert sorted(set(commands(MAIN))) == [(2, 2), (3, 4), (5, 5), (7, 7), (8, 9), (10, 10), (11, 11), (12, 12)]


def test_a_pattern_in_an_array_can_be_parsed() -> None:
    assert list(commands(b'a=(x)\na+=(/proc/[0-9]*/"$name")\n')) == [(2, 2), (1, 1)]


def test_each_shell_file_of_the_hosts_can_be_parsed() -> None:
    executable = shell_files(ROOT / "transferpy/host").executable
    assert all(executable.values())


def test_a_file_that_is_no_shell_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        list(commands(b"if"))


RAN = {"lib.sh": {3, 4}, "main.sh": {2, 7, 8, 10, 11, 12}}


def test_a_script_leaves_the_lines_that_ran_and_writes_the_same_as_ever(traced: Path) -> None:
    assert run(traced, "bash", "-c", SCRIPT.decode(), "transferpy", "job") == ("4\n8 9\n", RAN)


def test_a_packed_script_leaves_the_lines_that_ran(traced: Path) -> None:
    # Its launch would remove BASH_ENV.
    _, unpack, *words = shlex.split(pack_script(SCRIPT.decode(), "job"))[4:]
    assert run(traced, "bash", "-c", unpack, *words) == ("4\n8 9\n", RAN)


def test_a_script_that_a_script_evaluates_leaves_the_lines_that_ran(traced: Path) -> None:
    outer = LIBRARY.decode() + "go_on() {\n\n  eval \"$script\"\n}\nscript=$1\ngo_on 'it is' $'\\n'"
    assert run(traced, "bash", "-c", outer, "transferpy", f': "it\'s"\n{SCRIPT.decode()}') == ("4\n8 9\n", RAN)


def test_a_file_of_which_a_test_replaced_a_line_is_found(traced: Path) -> None:
    text = SCRIPT.replace(b"    : ", b"    : a ").decode()
    assert run(traced, "bash", "-c", text, "transferpy")[1] == RAN


def test_another_program_in_bash_leaves_no_trace(traced: Path) -> None:
    assert run(traced, "bash", "-c", SCRIPT.decode(), "another") == ("4\n8 9\n", {"lib.sh": set(), "main.sh": set()})


def test_a_python_of_debian_is_measured_by_its_sitecustomize_and_keeps_its_environment(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(sitecustomize(variables(ROOT, tmp_path)), encoding="utf-8")
    program = (
        "import os, sys, transferpy.model.text\n"
        "print(*(name for name in os.environ if 'COVERAGE' in name), *(path for path in sys.path if '.venv' in path))"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": os.environ["PATH"]}
    command = ["/usr/bin/python3", "-c", program]
    assert subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=True).stdout == b"\n"
    assert covered_units(tmp_path) == ["transferpy/model/text.py"]


def covered_units(directory: Path) -> list[str]:
    """Return the modules below ``model`` in which a line ran, computed in a process that is not measured itself."""
    program = (
        "import sys; from pathlib import Path; from measurement.report import python_coverage\n"
        "files = [file for file in python_coverage(Path(sys.argv[1])) if '/model/' in file.name]\n"
        "assert len(files) > 5\n"
        "print(*(file.name for file in files if file.covered))"
    )
    environment = {"PYTHONPATH": f"{ROOT}/tests", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program, str(directory)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def figures(name: str, covered: int, *missing: int, branches: tuple[tuple[int, int], ...] = ()) -> FileCoverage:
    return FileCoverage(name=name, covered=covered, total=100, missing=missing, missing_branches=branches)


def test_each_file_that_is_not_covered_completely_is_listed_with_its_missing_lines() -> None:
    python = [figures("b.py", 96, 4, 1, 2, 3, 9, branches=((12, 14), (13, -1))), figures("a.py", 100)]
    assert list(table(python, [figures("host/c.sh", 0, 1, 2)])) == [
        " 96.00%  b.py  1-4, 9, 12->14, 13->exit",
        " 98.00%  of the lines and branches of the Python package",
        "  0.00%  host/c.sh",
        "  0.00%  of the lines of the host scripts",
    ]


def test_figures_at_the_bounds_pass_and_below_one_fail() -> None:
    assert not list(broken_bounds([figures("a.py", 95), *(figures("b.py", 99) for _ in range(3))]))
    assert list(broken_bounds([figures("a.py", 94), figures("b.py", 100)])) == [
        "coverage of a.py: 94.00%, but the bound is 95%",
        "coverage of the Python package: 97.00%, but the bound is 98%",
    ]

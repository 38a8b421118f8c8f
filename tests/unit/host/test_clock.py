"""The clock of all timers: nobody can set it."""

import re
from pathlib import Path

import pytest
from bash import output_of
from host_text import TIMEOUT, in_session

from transferpy.host import HOST, assemble, perl_program

PACKAGE = HOST.parent
SETTABLE = {
    # bash derives SECONDS from the time of the day, too. "@" begins a time that does not depend on now.
    ".sh": r"\b(EPOCHSECONDS|EPOCHREALTIME|SECONDS)\b|\bdate\b|%\([^)]*\)T|-newer[aBcm]t\b(?! \"@)|-[acm]min\b",
    ".pl": r"(?<![$@%&\w])(time|localtime|gmtime|gettimeofday|alarm)\b(?! *=>)",
    ".py": r"\btime\.(time|time_ns|localtime|gmtime)\b|\bCLOCK_REALTIME\b",
}
COMPARED_WITH_FILES = {"host/perl/pieces.pl": 2, "host/types/xtrabackup.sh": 2}
"""The programs that compare the time of the day with the times of files, and how often they name this clock."""
FILES = sorted(path for suffix in SETTABLE for path in PACKAGE.rglob(f"*{suffix}"))


def code(text: str, suffix: str) -> str:
    """Return a program without its comments; those of Python may mention anything but the call of a function."""
    return text if suffix == ".py" else re.sub(r"(^|\s)#.*", "", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_program_reads_a_clock_that_can_be_set(path: Path) -> None:
    found = re.findall(SETTABLE[path.suffix], code(path.read_text(), path.suffix))
    assert len(found) == COMPARED_WITH_FILES.get(str(path.relative_to(PACKAGE)), 0), found


@pytest.mark.parametrize("name", SETTABLE)
def test_the_search_finds_such_a_clock(name: str) -> None:
    examples = {".sh": "((SECONDS > 3))", ".pl": "my $now = time;", ".py": "began = time.time()"}
    assert re.search(SETTABLE[name], code(examples[name], name))


def test_the_uptime_is_a_number_of_hundredths_of_a_second() -> None:
    script = assemble("lib/clock", call="read_uptime; echo $REPLY; read_uptime; echo $REPLY")
    before, after = map(int, output_of(script).split())
    assert 0 < before <= after


@pytest.mark.parametrize("calls", ["", "%system_call = ();"], ids=["fine", "coarse"])
def test_the_clock_of_perl_counts_seconds(calls: str) -> None:
    program = perl_program("perl/clock").replace("my ($tick", f"{calls} my ($tick", 1)
    pause = "my $began = now(); select undef, undef, undef, 1.1; print $began, qq{ }, now() - $began;"
    began, passed = map(float, output_of('perl -e "$1"', program + pause).split())
    assert began > 0
    assert 1 <= passed < TIMEOUT


def test_a_clock_that_is_set_back_makes_no_wait_longer(tmp_path: Path) -> None:
    script = """
        eval "$(declare -f wait_for_digests | sed 's/interval=60/interval=1/')"
        source_is_unchanged() { echo examined; return 1; }
        wait_for_message() { EPOCHSECONDS=$((EPOCHSECONDS - 3600)); sleep 0.05; }
        unset EPOCHSECONDS # from here on it is a variable like any other
        EPOCHSECONDS=1000000
        wait_for_digests send_0 || echo "$EPOCHSECONDS"
    """
    examined, time_of_day = in_session(tmp_path, script).split()
    assert examined == b"examined"
    assert int(time_of_day) < 1000000

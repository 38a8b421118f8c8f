"""The lists of tables: those that a server had during a backup, and the data that a table of its copy lacks."""

import os
import re
import shlex
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from host_text import TIMEOUT, in_session

from transferpy.host import perl_program
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command

MYISAM, MERGE, INNODB, ARCHIVE, CSV, PARTITION, ARIA, MEMORY = 9, 10, 12, 16, 17, 20, 42, 6


def frm(engine: int) -> bytes:
    """Return the beginning of the definition of a table, as MariaDB 10.11 writes it."""
    return bytes([0xFE, 1, 10, engine]) + bytes(60)


def par(*names: str, engine: int = INNODB) -> bytes:
    """Return the list of the partitions of a table."""
    text = b"".join(os.fsencode(name) + b"\0" for name in names)
    engines = bytes([engine] * len(names)) + bytes(-len(names) % 4)
    return struct.pack("<III", 0, 0, len(names)) + engines + struct.pack("<I", len(text)) + text + bytes(8)


VIEW = b"TYPE=VIEW\nquery=select 1\n"
TABLES = {
    "d/i.frm": frm(INNODB),
    "d/i.ibd": b"i",
    "d/i.TRG": b"TYPE=TRIGGERS",
    "d/t.TRN": b"TYPE=TRIGGERNAME",
    "d/m.frm": frm(MYISAM),
    "d/m.MYD": b"",
    "d/m.MYI": b"m",
    "d/a.frm": frm(ARIA),
    "d/a.MAD": b"a",
    "d/a.MAI": b"a",
    "d/c.frm": frm(CSV),
    "d/c.CSV": b"",
    "d/c.CSM": b"c",
    "d/g.frm": frm(MERGE),
    "d/g.MRG": b"",
    "d/z.ARZ": b"z",
    "d/p.frm": frm(PARTITION),
    "d/p.par": par("p0", "p1#SP#s@0020", "p2"),
    "d/p#P#p0.ibd": b"p",
    "d/p#P#p1#SP#s@0020.ibd": b"p",
    "d/p#P#p2.ibd": b"p",
    "d/q.frm": frm(PARTITION),
    "d/q.par": par("p0", engine=ARIA),
    "d/q#P#p0.MAD": b"q",
    "d/q#P#p0.MAI": b"q",
    "d/h.frm": frm(MEMORY),
    "d/v.frm": VIEW,
    "d/db.opt": b"o",
    "d/FTS_0000000000000015_CONFIG.ibd": b"f",
    # Names that sort between the files of another table.
    "d/i$.frm": frm(INNODB),
    "d/i$.ibd": b"i",
    "d/i-2.frm": frm(INNODB),
    "d/i-2.ibd": b"i",
    "@65e5 x/a@002eb.frm": frm(INNODB),
    "@65e5 x/a@002eb.ibd": b"i",
    "d/a.b.frm": frm(INNODB),
    "d/a.b.ibd": b"i",
}
OTHERS = {
    "#sql/x.frm": frm(INNODB),
    ".d/x.frm": frm(INNODB),
    "d/#sql-ib9.ibd": b"s",
    "d/#sql-1.frm": frm(INNODB),
    "ibdata1": b"s",
}


def write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


def listed(directory: Path, kind: str = "copy", before: str = "") -> tuple[list[str], list[str]]:
    """Return the records of the tables in ``directory/data``, and the files that tables lack."""
    lists = [str(directory / name) for name in ("tables", "lacking")]
    command = Command(("list_tables", kind, str(directory / "data"), *lists))
    assert in_session(directory, f"{before}\n{render_command(command)}; echo $?") == b"0\n"
    tables, lacking = (Path(name).read_bytes().decode().split("\0")[:-1] for name in lists)
    return tables, lacking


def test_a_copy_with_all_tables_lacks_nothing(tmp_path: Path) -> None:
    write(tmp_path / "data", {**TABLES, **OTHERS})
    tables, lacking = listed(tmp_path)
    assert tables == sorted(name.replace("d/FTS", "FTS") for name in TABLES)
    assert lacking == []


@pytest.mark.parametrize("lost", [name for name in TABLES if not name.endswith((".frm", ".TRG", ".TRN", ".opt"))])
def test_the_data_of_a_table_that_a_copy_lacks_is_named(tmp_path: Path, lost: str) -> None:
    write(tmp_path / "data", {name: content for name, content in TABLES.items() if name != lost})
    tables, lacking = listed(tmp_path)
    assert lost.replace("d/FTS", "FTS") not in tables
    assert lacking == ([] if "FTS_" in lost or ".ARZ" in lost else [lost])


@pytest.mark.parametrize(
    ("name", "content", "lacks"),
    [
        ("d/i.ibd", b"", "d/i.ibd"),
        ("d/m.MYI", b"", "d/m.MYI"),
        ("d/i.frm", frm(INNODB)[:40], "d/i.frm"),
        ("d/i.frm", b"\0" * 64, "d/i.frm"),
        ("d/p.par", par("p0", "p1", "p2")[:24], "d/p.par"),
        ("d/p.par", b"", "d/p.par"),
        ("d/p.par", struct.pack("<III", 0, 0, 0xFFFFFFFF) + bytes(99), "d/p.par"),
        ("d/p.par", par("p0", "p9"), "d/p#P#p9.ibd"),
        ("d/i.frm", frm(ARIA), "d/i.MAD d/i.MAI"),
    ],
)
def test_a_damaged_file_is_one_that_a_table_lacks(tmp_path: Path, name: str, content: bytes, lacks: str) -> None:
    write(tmp_path / "data", {**TABLES, name: content})
    assert listed(tmp_path)[1] == lacks.split()


def test_the_largest_list_of_partitions_is_read(tmp_path: Path) -> None:
    names = [f"p{number:0246}" for number in range(8192)]
    write(tmp_path / "data", {"d/p.frm": frm(PARTITION), "d/p.par": par(*names)})
    assert listed(tmp_path)[1] == [f"d/p#P#{name}.ibd" for name in names]


@pytest.mark.parametrize(
    "content",
    [
        par(*["p"] * 8193),
        struct.pack("<III", 0, 0, 1 << 24) + bytes([INNODB]) * (15 << 20),
        struct.pack("<III", 0, 0, 15 << 20)
        + bytes([INNODB]) * (15 << 20)
        + struct.pack("<I", 1 << 20)
        + b"p\0" * 500_000,
        struct.pack("<IIIII", 0, 0, 1, INNODB, 15 << 20) + b"p\0" * (15 << 19),
    ],
    ids=["one too many", "no names", "few names", "many names"],
)
def test_a_list_of_partitions_without_end_needs_little_memory(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "data", {"d/p.frm": frm(PARTITION), "d/p.par": content})
    assert listed(tmp_path, before="ulimit -v 100000")[1] == ["d/p.par"]


@pytest.mark.parametrize(
    ("files", "lacks"),
    [
        ({"d/i.new": b"n", "d/i.ibd": b"i"}, ""),
        ({"d/i.ibd.new": b"n"}, ""),
        ({"d/i.ibd": b"i", "d/i.del": b""}, "d/i.ibd"),
        ({"d/i.ibd": b"i", "d/i.del": b"", "d/i.new": b"n"}, ""),
        ({"e/j.ibd": b"j", "e/j.ren": b"d/i"}, ""),
        ({"d/i.ibd": b"i", "d/i.ren": b"e/j"}, "d/i.ibd"),
        ({"d/i.ibd": b"i", "d/i.ren": b"d/j", "d/j.frm": frm(INNODB), "d/j.ibd": b"j", "d/j.ren": b"d/i"}, ""),
        ({"d/i.ibd": b"i", "d/i.ren": b"d/j", "d/j.frm": frm(INNODB)}, "d/i.ibd"),
        ({"d/i.isl": b"/elsewhere/d/i.ibd"}, "d/i.ibd"),
        ({"d/i.isl": b"/elsewhere/d/i.ibd", "d/i.ibd": b"i"}, ""),
    ],
)
def test_a_copy_has_the_files_that_prepare_will_make(tmp_path: Path, files: dict[str, bytes], lacks: str) -> None:
    """mariadb-backup 10.11.19 writes these files during DDL."""
    write(tmp_path / "data", {"d/i.frm": frm(INNODB), **files})
    tables, lacking = listed(tmp_path)
    assert lacking == lacks.split()
    assert ("d/i.ibd" in tables) is (not lacks)


def identities(records: list[str]) -> dict[str, str]:
    return dict(record.split("//") for record in records)


def test_a_table_of_a_server_has_the_same_record_as_long_as_nobody_changes_its_definition(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data, TABLES)
    before = identities(listed(tmp_path, "server")[0])
    assert set(before) == {name.replace("d/FTS", "FTS") for name in TABLES}
    # Data is written and replaced, a table is renamed and has its name again, a table and a trigger are created anew.
    write(data, {"d/i.ibd": b"longer"})
    (data / "d/m.frm").rename(data / "d/n.frm")
    (data / "d/n.frm").rename(data / "d/m.frm")
    for name in ("d/p.frm", "d/t.TRN", "d/FTS_0000000000000015_CONFIG.ibd"):
        (data / "new").write_bytes(TABLES[name])
        (data / "new").rename(data / name)
    (data / "d/z.ARZ").unlink()
    after = identities(listed(tmp_path, "server")[0])
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {
        *("d/m.frm", "d/m.MYD", "d/m.MYI", "d/p.frm", "d/p#P#p0.ibd", "d/p#P#p1#SP#s@0020.ibd", "d/p#P#p2.ibd"),
        *("d/t.TRN", "d/z.ARZ", "FTS_0000000000000015_CONFIG.ibd"),
    }


def test_a_server_lacks_the_files_of_tables_that_are_elsewhere(tmp_path: Path) -> None:
    data = tmp_path / "data"
    gone = ("d/i.ibd", "d/p#P#p0.ibd", "d/p#P#p2.ibd", "d/m.MYI", "d/a.MAD")
    write(data, {name: content for name, content in TABLES.items() if name not in gone})
    # The directory of a database and the file of a table may be links; InnoDB has a file with the path.
    (data / "d/p#P#p2.isl").write_bytes(b"/elsewhere/d/p#P#p2.ibd")
    (tmp_path / "a.MAD").write_bytes(b"a")
    (data / "d/a.MAD").symlink_to(tmp_path / "a.MAD")
    (data / "d").rename(tmp_path / "d")
    (data / "d").symlink_to(tmp_path / "d")
    tables, lacking = listed(tmp_path, "server")
    assert {"d/p#P#p2.ibd", "d/a.MAD", "d/a.frm"} <= set(identities(tables))
    assert lacking == ["d/i.ibd", "d/m.MYI", "d/p#P#p0.ibd"]


@pytest.mark.parametrize(
    "change",
    [
        "touch d/i.ibd",
        "echo /elsewhere/i.ibd >d/i.isl",
        "cp d/i.frm d/j.frm && mv d/j.frm d/i.frm",
        "rm d/i.frm",
        "touch 'd/p#P#p0.ibd'",
        "rm d/i.frm d/p.par",
    ],
)
def test_a_table_that_a_server_changes_just_now_lacks_nothing(tmp_path: Path, change: str) -> None:
    data = tmp_path / "data"
    write(data, {"d/i.frm": frm(INNODB), "d/p.frm": frm(PARTITION), "d/p.par": par("p0")})
    # The change comes after the list of the files and before the check.
    list_file = tmp_path / "sorted"
    step = f"sort -zo {list_file}; ( cd {data}; {change} ); cat {list_file}"
    between = f'sort_list() {{ [ $# -gt 1 ] && sort "$@" || {{ {step}; }}; }}'
    lacking = listed(tmp_path, "server", before=between)[1]
    table = "d/p" if "d/p" in change else "d/i"
    assert not [name for name in lacking if name.startswith((f"{table}.", f"{table}#"))]


def test_views_and_tables_of_other_engines_need_no_data(tmp_path: Path) -> None:
    write(tmp_path / "data", {"d/v.frm": VIEW, "d/h.frm": frm(MEMORY), "d/x.frm": frm(127)})
    assert listed(tmp_path)[1] == []


@pytest.mark.parametrize(
    ("moment", "lost", "settled", "repeated"),
    [
        (100, "", "", ""),
        (101, "", "d/a#P#p0.MAD d/a.frm", ""),
        (201, "150.5 d/b.MYD", "d/a#P#p0.MAD d/a.frm d/b.MYD d/b.frm", ""),
        (0, "200.6 d/b.MYD", "", "d/b"),
        (0, "200.6 d/b.MYD 100.4 d/b.MYD 100.6 d/b.frm 100.6 d/a#P#p0.MAD 300.0 d/c.MYD", "", "d/a, d/b"),
    ],
)
def test_a_table_that_is_older_than_a_change_of_its_files_was_changed_by_mistake(
    tmp_path: Path, moment: int, lost: str, settled: str, repeated: str
) -> None:
    records = ("d/a.frm//7 100.5", "d/a#P#p0.MAD//7 100.5", "d/b.frm//8 200.5", "d/b.MYD//8 200.5", "FTS_1.ibd//9")
    (tmp_path / "lost").write_text("".join(f"{record}\0" for record in re.findall(r"\S+ \S+", lost)))
    command = ["perl", "-e", perl_program("perl/settled"), str(moment), "lost", "repeated"]
    text = "".join(f"{record}\0" for record in records)
    done = subprocess.run(
        command, cwd=tmp_path, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=True
    )
    assert sorted(done.stdout.split("\0")[:-1]) == settled.split()
    assert (tmp_path / "repeated").read_text() == repeated


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
@pytest.mark.parametrize("seconds", [1_800_000_000, 1_792_886_399, 1_792_890_000, 1_792_893_600])
def test_the_moment_in_a_log_is_never_too_late(tmp_path: Path, zone: str, seconds: int) -> None:
    """The last three times are around the end of summer time in Berlin."""
    line = f'date -d @{seconds} "+[00] %F %T Acquired locks for BACKUP STAGE BLOCK_DDL" >log'
    script = f'export TZ={zone}; {line}; moment=0; read_moment log; echo "$moment"'
    moment = int(in_session(tmp_path, script))
    assert moment == seconds or (moment == seconds - 3600 and zone == "Europe/Berlin")


def test_a_log_without_the_moment_proves_nothing(tmp_path: Path) -> None:
    assert in_session(tmp_path, 'echo "[00] completed OK!" >log; moment=0; read_moment log; echo "$moment"') == b"0\n"


@pytest.mark.parametrize(
    ("answers", "lacking"),
    [
        (["shop con @65e5@672c"], ""),
        (["shop gone.1 gone.2"], "gone.1 gone.2"),
        (["shop gone.1 gone.2", "shop gone.2"], "gone.2"),
        (["shop gone.1", "shop"], ""),
        (["shop gone.1", "shop gone.2", "shop gone.1"], ""),
        ([""], ""),
    ],
)
def test_databases_of_a_server_that_are_not_in_its_data_directory_are_named(
    tmp_path: Path, answers: list[str], lacking: str
) -> None:
    """A database may be created or dropped between the answer of the server and the look at the directory."""
    for name in ("shop", "con@@@", "@65e5@672c", "created"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for number, answer in enumerate(answers):
        rows = "".join(f'<row><field name="name">{name}</field></row>' for name in answer.split(" "))
        (tmp_path / f"answer.{number}").write_text(f"<resultset>{rows}</resultset>")
    last = f"answer.{len(answers) - 1}"
    client = f"cat answer.$(wc -l <asked) 2>/dev/null || cat {last}; echo >>asked"
    script = f"""
        source_directory=$PWD/data
        client=(bash -c {shlex.quote(client)})
        sleep() {{ :; }}
        : >asked
        check_databases 2>&1
        echo "$?"
    """
    expected = f"the server has databases that are not in {tmp_path}/data: {lacking}\n1\n" if lacking else "0\n"
    assert in_session(tmp_path, script).decode() == expected


def test_a_server_that_does_not_report_its_databases_is_not_trusted(tmp_path: Path) -> None:
    script = "client=(bash -c 'echo ERROR 1040 >&2; exit 1'); check_databases 2>&1; echo $?"
    assert in_session(tmp_path, script) == b"ERROR 1040\n1\n"

"""The content of hot copies: tables of every kind arrive whole, also while they change."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from databases import SOCKET, Fleet, Server, backing_up, watched, wrapped
from helpers import eventually, transfer
from lab import HostSpec, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host

pytestmark = pytest.mark.lab

BACKUP = ("--type", "xtrabackup")
SOURCE = f"db1:{SOCKET}"
TARGET = "db3:/srv/copy"
KEYS = "/srv/mysql-keys"
ENCRYPTION = ("--plugin-load-add=file_key_management", f"--file-key-management-filename={KEYS}")
KINDS = """
    INSTALL SONAME 'ha_archive';
    CREATE DATABASE kinds; USE kinds;
    CREATE TABLE inno (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TRIGGER changing BEFORE INSERT ON inno FOR EACH ROW SET @a = 1;
    CREATE VIEW seen AS SELECT * FROM inno;
    CREATE TABLE my (a INT PRIMARY KEY) ENGINE=MyISAM;
    CREATE TABLE aria (a INT PRIMARY KEY) ENGINE=Aria;
    CREATE TABLE memory (a INT PRIMARY KEY) ENGINE=MEMORY;
    CREATE TABLE csv (a INT NOT NULL) ENGINE=CSV;
    CREATE TABLE archive (a INT) ENGINE=ARCHIVE;
    CREATE TABLE merged (a INT PRIMARY KEY) ENGINE=MERGE UNION=(my);
    CREATE SEQUENCE sequence; CREATE SEQUENCE sequence_my ENGINE=MyISAM; CREATE SEQUENCE sequence_aria ENGINE=Aria;
    CREATE TABLE words (a INT PRIMARY KEY, t TEXT, FULLTEXT(t)) ENGINE=InnoDB;
    CREATE TABLE words_my (a INT PRIMARY KEY, t TEXT, FULLTEXT(t)) ENGINE=MyISAM;
    CREATE TABLE parts (a INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH(a) PARTITIONS 64;
    CREATE TABLE parts_my (a INT PRIMARY KEY) ENGINE=MyISAM PARTITION BY HASH(a) PARTITIONS 3;
    CREATE TABLE parts_aria (a INT PRIMARY KEY) ENGINE=Aria PARTITION BY HASH(a) PARTITIONS 3;
    CREATE TABLE subparts (a INT, b INT) ENGINE=InnoDB PARTITION BY RANGE(a) SUBPARTITION BY HASH(b) SUBPARTITIONS 2
        (PARTITION `p x#` VALUES LESS THAN (10), PARTITION `日本` VALUES LESS THAN MAXVALUE);
    CREATE TABLE encrypted (a INT PRIMARY KEY) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=1;
    CREATE TABLE compressed (a INT PRIMARY KEY) ENGINE=InnoDB PAGE_COMPRESSED=1;
    CREATE TABLE zipped (a INT PRIMARY KEY) ENGINE=InnoDB ROW_FORMAT=COMPRESSED;
    CREATE TABLE discarded (a INT PRIMARY KEY) ENGINE=InnoDB; ALTER TABLE discarded DISCARD TABLESPACE;
    SET GLOBAL innodb_file_per_table=0;
    CREATE TABLE shared (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE shared_parts (a INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH(a) PARTITIONS 2;
    SET GLOBAL innodb_file_per_table=1;
"""
"""A table of each kind, in the database ``kinds``."""
FILLED = (
    *("inno", "my", "aria", "csv", "archive", "words", "words_my", "parts", "parts_my", "parts_aria", "encrypted"),
    *("compressed", "zipped", "shared", "shared_parts"),
)
CHANGING = """
    CREATE DATABASE changing; USE changing;
    CREATE TABLE t (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE emptied (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE altered (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE words (a INT PRIMARY KEY, t TEXT, FULLTEXT(t)) ENGINE=InnoDB;
    CREATE TABLE parts (a INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH(a) PARTITIONS 16;
    CREATE TABLE moving (a INT PRIMARY KEY) ENGINE=InnoDB;
    CREATE TABLE my (a INT PRIMARY KEY) ENGINE=MyISAM;
    CREATE TABLE aria (a INT PRIMARY KEY) ENGINE=Aria;
    CREATE TABLE away (a INT); CREATE TABLE anew (a INT);
"""
CHANGE = """
    CREATE TABLE n{n} (a INT PRIMARY KEY) ENGINE=InnoDB; INSERT INTO n{n} VALUES ({n});
    RENAME TABLE t TO o{n}, n{n} TO t; DROP TABLE o{n};
    TRUNCATE TABLE emptied; INSERT INTO emptied VALUES ({n});
    ALTER TABLE altered ADD COLUMN b INT, ALGORITHM=INPLACE; ALTER TABLE altered DROP COLUMN b, ALGORITHM=COPY;
    ALTER TABLE words FORCE;
    ALTER TABLE parts TRUNCATE PARTITION p1; ALTER TABLE parts COALESCE PARTITION 1;
    ALTER TABLE parts ADD PARTITION PARTITIONS 1;
    RENAME TABLE moving TO moved; RENAME TABLE moved TO moving;
    ALTER TABLE my ENGINE=MyISAM; ALTER TABLE aria ENGINE=Aria;
    CREATE DATABASE d{n}; CREATE TABLE d{n}.t (a INT); CREATE TABLE d{n}.m (a INT) ENGINE=MyISAM;
    CREATE TABLE d{n}.parts (a INT) PARTITION BY HASH(a) PARTITIONS 4; CREATE VIEW d{n}.v AS SELECT * FROM d{n}.t;
    CREATE SEQUENCE d{n}.s; CREATE TRIGGER d{n}.r BEFORE INSERT ON d{n}.t FOR EACH ROW SET @a = 1;
    SET GLOBAL innodb_file_per_table=0; CREATE TABLE d{n}.shared (a INT); SET GLOBAL innodb_file_per_table=1;
    RENAME TABLE d{n}.parts TO p{n}; DROP DATABASE d{n}; DROP TABLE p{n};
"""


EARLY = "abcdefghijkl"
"""The tables of a database, alternately of the engines MyISAM and Aria."""
OUTSIDE = "/srv/outside"
ELSEWHERE = (
    *(
        f"--innodb-undo-directory={OUTSIDE}/undo",
        "--innodb-undo-tablespaces=2",
        f"--innodb-data-home-dir={OUTSIDE}/home",
    ),
    *(f"--innodb-log-group-home-dir={OUTSIDE}/redo", f"--aria-log-dir-path={OUTSIDE}/aria"),
    f"--log-bin={OUTSIDE}/binary/bin",
)


@pytest.fixture(scope="module", params=["", "trixie"], ids=["10.11", "11.8"])
def servers(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    hosts = {"orch": HostSpec()} | {name: HostSpec(suite=request.param) for name in ("db1", "db2", "db3")}
    with Lab.up(hosts) as lab:
        for host in ("db1", "db3"):
            lab[host].run(["tee", KEYS], input=b"1;" + b"0123456789abcdef" * 4 + b"\n")
        primary = Server(lab["db1"], 1, options=ENCRYPTION)
        primary.install()
        with primary:
            primary.execute(KINDS)
            primary.execute("".join(f"INSERT INTO kinds.{table} (a) VALUES (1), (2), (3);" for table in FILLED))
            yield Fleet(lab, primary, primary)


@pytest.fixture
def fleet(servers: Fleet) -> Iterator[Fleet]:
    """The fleet for one test, with an empty directory /srv/copy on db3."""
    with watched(servers):
        servers["db3"].run("mkdir /srv/copy")
        yield servers


@contextmanager
def started(host: Host, *options: str) -> Iterator[Server]:
    """A server on the copy, which the run has prepared."""
    with Server(host, 3, "-copy", datadir="/srv/copy", options=(*ENCRYPTION, *options)) as server:
        try:
            yield server
        finally:
            server.kill()
            host.run("rm -f /run/mysqld/mysqld-copy.sock*; rmdir --ignore-fail-on-non-empty /run/mysqld")


@contextmanager
def repeated(server: Server, change: str) -> Iterator[None]:
    """Statements that a client executes all the time; ``{n}`` in them is 1, 2, 0 and so on."""
    script = (
        f'n=0; while :; do n=$(((n + 1) % 3)); echo "USE changing; {change.replace("{n}", "$n")}"; done | exec "$@"'
    )
    process = server.host.popen(
        ["bash", "-c", script, "-", *server.client("")[:-1]], stdin=subprocess.DEVNULL, start_new_session=True
    )
    began = server.counted("create_db")
    try:
        assert eventually(lambda: server.counted("create_db") > began + 2), "nothing changes"
        yield
        assert process.poll() is None, "a statement failed"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def assert_whole(copy: Server, source: Server) -> None:
    """Assert that a copy has all tables of the database ``kinds`` with their rows, and no damaged table."""
    names = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'kinds' ORDER BY 1"
    assert copy.execute(names) == source.execute(names)
    assert copy.execute("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'kinds'") == [
        ["changing"]
    ]
    for table in FILLED:
        assert copy.value(f"SELECT SUM(a) FROM kinds.{table}") == "6", table
    tables = copy.execute(
        "SELECT CONCAT('`', TABLE_SCHEMA, '`.`', TABLE_NAME, '`') FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA NOT LIKE '%_schema' AND TABLE_NAME NOT IN ('discarded', 'memory')"
        " AND TABLE_TYPE <> 'SEQUENCE'"
    )
    bad = [
        row
        for row in copy.execute(f"CHECK TABLE {', '.join(name for (name,) in tables)} EXTENDED")
        if row[2] != "status" or row[3] != "OK"
    ]
    assert not bad


def test_tables_of_every_kind_arrive(fleet: Fleet) -> None:
    transfer(fleet.lab, *BACKUP, "--prepare", "--owner", "mysql:mysql", SOURCE, TARGET, check=True)
    with started(fleet["db3"]) as copy:
        assert_whole(copy, fleet.primary)


def test_tables_may_change_during_the_backup(fleet: Fleet) -> None:
    fleet.primary.execute(CHANGING)
    # Before and after the backup, but not during it, there are tables of these names.
    away = "RENAME TABLE changing.away TO changing.elsewhere; DROP TABLE changing.anew"
    again = "RENAME TABLE changing.elsewhere TO changing.away; CREATE TABLE changing.anew (a INT)"
    backup = f'mariadb -e "{away}"; real "$@"; status=$?; mariadb -e "{again}"; exit "$status"'
    try:
        with repeated(fleet.primary, CHANGE), wrapped(fleet["db1"], "mariadb-backup", backing_up(backup)):
            transfer(fleet.lab, *BACKUP, "--prepare", "--owner", "mysql:mysql", SOURCE, TARGET, check=True)
    finally:
        fleet.primary.execute("DROP DATABASE changing")
    with started(fleet["db3"]) as copy:
        assert_whole(copy, fleet.primary)


def test_every_file_of_a_table_that_does_not_arrive_is_named(fleet: Fleet) -> None:
    files = ("kinds/changing.TRN", "kinds/merged.MRG", "kinds/parts#P#p7.ibd", "kinds/sequence_aria.MAD")
    # The file of an InnoDB table that is younger than the last checkpoint of the server arrives as NAME.new.
    lose = 'for name; do new=${name%.ibd}.new; if [ -e "$new" ]; then rm -- "$new"; else rm -- "$name"; fi; done'
    fts = '"$(find kinds -name "FTS_*_CONFIG.*" | sed "s/[.]new$/.ibd/")"'
    losing = f'real "$@"; set -- {" ".join(files)} {fts}; {lose}'
    with wrapped(fleet["db3"], "mbstream", losing):
        result = transfer(fleet.lab, *BACKUP, "--no-checksum", SOURCE, TARGET)
    assert result.status == 7, result.stderr
    named = re.search(r"the backup lacks tables: (.*)\n", result.stderr)
    assert named, result.stderr
    fts, *others = named[1].split(", ")
    assert re.fullmatch(r"FTS_\w+_CONFIG[.]ibd", fts)
    assert tuple(others) == files


def test_a_table_that_is_created_during_the_backup_without_its_data_is_named(fleet: Fleet) -> None:
    creating = "mariadb -e 'CREATE TABLE kinds.late (a INT)'"
    try:
        with (
            wrapped(
                fleet["db1"], "mariadb-backup", backing_up(f'{creating}; real "$@"; mariadb -e "DROP TABLE kinds.late"')
            ),
            wrapped(fleet["db3"], "mbstream", 'real "$@"; rm -- kinds/late.[in]*'),
        ):
            result = transfer(fleet.lab, *BACKUP, "--no-checksum", SOURCE, TARGET)
    finally:
        fleet.primary.execute("DROP TABLE IF EXISTS kinds.late")
    assert result.status == 7, result.stderr
    assert "the backup lacks tables: kinds/late.ibd\n" in result.stderr


def before_the_tables_are_read(statements: str) -> str:
    """Return a wrapper for mariadb-backup, which executes statements while the tool reads the files of InnoDB."""
    has_begun = "grep -q 'Acquired locks for BACKUP STAGE START' /proc/self/fd/2"
    change = f'until {has_begun}; do sleep 0.1; done; mariadb early -e "{statements}" >/dev/null; cat'
    return backing_up(f'set -o pipefail; real "$@" | {{ {change}; }}')


@pytest.fixture
def early(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet of a server with a database ``early``, which has tables of the engines MyISAM and Aria."""
    fleet.primary.execute("CREATE DATABASE early")
    for number, name in enumerate(EARLY):
        engine = ("MyISAM", "Aria")[number % 2]
        fleet.primary.execute(
            f"CREATE TABLE early.{name} (a INT) ENGINE={engine}; INSERT INTO early.{name} VALUES ({number})"
        )
    try:
        yield fleet
    finally:
        fleet.primary.execute("DROP DATABASE early")


def test_tables_that_mariadb_backup_exchanges_or_removes_by_mistake_are_named(early: Fleet) -> None:
    changes = "RENAME TABLE a TO t, c TO a, t TO c; DROP TABLE b; CREATE TABLE b (a INT) ENGINE=Aria;"
    changes += (
        "CREATE OR REPLACE TABLE d (a INT) ENGINE=Aria; RENAME TABLE e TO e_1; CREATE TABLE e (a INT) ENGINE=MyISAM"
    )
    with wrapped(early["db1"], "mariadb-backup", before_the_tables_are_read(changes)):
        result = transfer(early.lab, *BACKUP, SOURCE, TARGET)
    assert result.status == 7, result.stderr
    names = ", ".join(f"early/{name}" for name in ("a", "b", "c", "d", "e"))
    assert f"mariadb-backup damaged tables that were created or renamed before it read them: {names}" in result.stderr


def test_a_table_that_mariadb_backup_removes_by_mistake_is_missed_without_checksums(early: Fleet) -> None:
    change = "DROP TABLE b; CREATE TABLE b (a INT) ENGINE=Aria"
    with wrapped(early["db1"], "mariadb-backup", before_the_tables_are_read(f"{change}; DO SLEEP(2)")):
        result = transfer(early.lab, *BACKUP, "--no-checksum", SOURCE, TARGET)
    assert result.status == 7, result.stderr
    assert "the backup lacks tables: early/b.MAD, early/b.MAI, early/b.frm\n" in result.stderr


def test_tables_that_change_before_they_are_read_arrive(early: Fleet) -> None:
    changes = "RENAME TABLE a TO a_1; TRUNCATE TABLE c; TRUNCATE TABLE d; OPTIMIZE TABLE e, f;"
    changes += "REPAIR TABLE g, h; ALTER TABLE i ADD COLUMN b INT; ALTER TABLE j ADD COLUMN b INT; DROP TABLE k, l;"
    changes += "CREATE TABLE m_1 (a INT) ENGINE=MyISAM; CREATE TABLE n_1 (a INT) ENGINE=Aria"
    with wrapped(early["db1"], "mariadb-backup", before_the_tables_are_read(changes)):
        transfer(early.lab, *BACKUP, "--prepare", "--owner", "mysql:mysql", SOURCE, TARGET, check=True)
    with started(early["db3"]) as copy:
        names = [name for (name,) in early.primary.execute("SHOW TABLES FROM early")]
        assert [name for (name,) in copy.execute("SHOW TABLES FROM early")] == names
        for name in names:
            assert copy.execute(f"SELECT * FROM early.{name}") == early.primary.execute(
                f"SELECT * FROM early.{name}"
            ), name


def make_outside(host: Host, *names: str) -> None:
    """Make directories of the user mysql outside the data directory."""
    paths = " ".join(f"{OUTSIDE}/{name}" for name in names)
    host.run(f"mkdir -p {paths} && chown -R mysql:mysql {OUTSIDE}")


def test_tables_with_a_directory_of_their_own_are_refused(fleet: Fleet) -> None:
    make_outside(fleet["db1"], "data")
    directory = f"DATA DIRECTORY='{OUTSIDE}/data'"
    fleet.primary.execute(
        f"""
        CREATE DATABASE elsewhere; USE elsewhere;
        CREATE TABLE inno (a INT) {directory};
        CREATE TABLE parts (a INT) PARTITION BY RANGE(a) (PARTITION p0 VALUES LESS THAN (9) {directory},
            PARTITION p1 VALUES LESS THAN MAXVALUE);
        CREATE TABLE aria (a INT PRIMARY KEY) ENGINE=Aria {directory} INDEX DIRECTORY='{OUTSIDE}/data';
        CREATE TABLE my (a INT PRIMARY KEY) ENGINE=MyISAM {directory};
        """
    )
    try:
        refused = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
        assert refused.status == 4, refused.stderr
        names = "elsewhere/aria, elsewhere/inno, elsewhere/parts"
        assert f"ERROR {SOURCE}: tables with DATA DIRECTORY cannot be copied: {names}\n" in refused.stderr
        fleet.primary.execute("DROP TABLE elsewhere.inno, elsewhere.parts, elsewhere.aria")
        late = f'mariadb -e "CREATE TABLE elsewhere.late (a INT) {directory}"; real "$@"'
        with wrapped(fleet["db1"], "mariadb-backup", backing_up(late)):
            failed = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
        assert failed.status == 7, failed.stderr
        assert "db3: the received backup has tables with DATA DIRECTORY\n" in failed.stderr
    finally:
        fleet.primary.execute("DROP DATABASE elsewhere")


def test_files_outside_the_data_directory_arrive(fleet: Fleet) -> None:
    """The copy is on the host of its source, so it could open the files of the source by their paths."""
    db1 = fleet["db1"]
    make_outside(db1, "undo", "home", "redo", "aria", "binary", "data")
    db1.run("mkdir /srv/copy")
    server = Server(db1, 5, "-elsewhere", datadir=f"{OUTSIDE}/datadir", options=ELSEWHERE)
    db1.run(
        f"mariadb-install-db --no-defaults --user=mysql --datadir={server.datadir} --skip-test-db"
        f" --auth-root-authentication-method=socket {' '.join(ELSEWHERE[:-1])}",
        timeout=60,
    )
    with server:
        server.execute("CREATE DATABASE d; CREATE DATABASE link")
        db1.run(f"mv {server.datadir}/link {OUTSIDE}/link && ln -s {OUTSIDE}/link {server.datadir}/link")
        server.execute(
            f"""
            CREATE TABLE d.my (a INT PRIMARY KEY) ENGINE=MyISAM DATA DIRECTORY='{OUTSIDE}/data';
            CREATE TABLE link.inno (a INT PRIMARY KEY); CREATE TABLE link.aria (a INT PRIMARY KEY) ENGINE=Aria;
            SET GLOBAL innodb_file_per_table=0; CREATE TABLE d.shared (a INT PRIMARY KEY);
            INSERT INTO d.my VALUES (1); INSERT INTO d.shared VALUES (2);
            INSERT INTO link.inno VALUES (3); INSERT INTO link.aria VALUES (4);
            """
        )
        source = f"db1:{server.socket}"
        transfer(fleet.lab, *BACKUP, "--prepare", "--owner", "mysql:mysql", source, "db1:/srv/copy", check=True)
        with started(db1, "--innodb-undo-tablespaces=2") as copy:
            for value, table in enumerate(("d.my", "d.shared", "link.inno", "link.aria"), 1):
                assert copy.value(f"SELECT a FROM {table}") == str(value)
                assert copy.execute(f"CHECK TABLE {table} EXTENDED")[-1][2:] == ["status", "OK"]
            opened = db1.sh(f"find /proc/$(cat {copy.socket}.pid)/fd -printf '%l\\n' | sort -u")
            assert "/srv/copy/undo001" in opened
            assert OUTSIDE not in opened

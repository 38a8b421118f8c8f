"""The commands of a hot copy: login, backup, unpacking and preparing; no argument list contains a secret."""

import pytest
from bash import any_text
from hypothesis import example, given

from transferpy.MariaDB import backup, client, client_options, login, major_version, prepare, unpack

SOCKET = "/run/mysqld/mysqld.sock"
BY_SOCKET = ("--host=localhost", "--protocol=socket", f"--socket={SOCKET}")
"""With only the last of them, the host of an option file would take precedence."""
DEFAULTS = "/root/backup's my.cnf"


class TestLogin:
    def test_without_an_option_file_root_logs_in_through_the_socket(self) -> None:
        assert login(SOCKET, "") == BY_SOCKET

    def test_the_option_file_is_the_first_option(self) -> None:
        assert login(SOCKET, DEFAULTS)[0] == f"--defaults-file={DEFAULTS}"
        for words in (client_options(SOCKET, DEFAULTS), backup("mariadb-backup", SOCKET, DEFAULTS, 4).argv[1:]):
            assert words[:4] == (f"--defaults-file={DEFAULTS}", *BY_SOCKET)

    @pytest.mark.parametrize("defaults_file", ["", DEFAULTS])
    def test_no_option_contains_a_secret(self, defaults_file: str) -> None:
        words = (
            *client_options(SOCKET, defaults_file),
            *backup("xtrabackup", SOCKET, defaults_file, 1).argv,
            *prepare("xtrabackup", 1 << 30).argv,
            *unpack("xbstream").argv,
        )
        assert not [word for word in words if str(word).startswith(("--password", "-p", "--user", "-u"))]


class TestCommands:
    def test_the_client_prints_values_and_nothing_else(self) -> None:
        options = (
            *("--default-character-set=utf8mb4", "--connect-timeout=30"),
            *("--delimiter=;", "--database=", "--skip-force"),
        )
        assert client_options(SOCKET, "") == (*BY_SOCKET, *options)
        assert client("mariadb", SOCKET, "") == ("mariadb", *BY_SOCKET, *options)

    def test_a_backup_goes_to_standard_output_with_the_position_of_replication(self) -> None:
        assert backup("mariabackup", SOCKET, "", 16).argv == (
            *("mariabackup", *BY_SOCKET, "--backup", "--stream=xbstream"),
            *("--slave-info", "--close-files", "--parallel=16"),
        )

    def test_xtrabackup_gets_no_option_of_mariadb_backup(self) -> None:
        assert backup("xtrabackup", SOCKET, "", 1).argv[1:3] == ("--host=localhost", f"--socket={SOCKET}")

    def test_a_stream_is_unpacked_to_the_working_directory(self) -> None:
        assert unpack("mbstream").argv == ("mbstream", "--extract", "--directory=.")

    @pytest.mark.parametrize(
        ("free", "used"), [(8 << 30, 4 << 30), (0, 100 << 20), (150 << 20, 100 << 20), (3, 100 << 20)]
    )
    def test_preparing_uses_half_of_the_free_memory_and_at_least_the_default_of_the_tool(
        self, free: int, used: int
    ) -> None:
        assert prepare("mariadb-backup", free).argv == (
            *("mariadb-backup", "--prepare", "--target-dir=."),
            f"--use-memory={used}",
        )


class TestMajorVersion:
    @pytest.mark.parametrize(
        ("text", "version"),
        [
            ("10.11.14-MariaDB-0+deb12u2-log", "10.11"),
            ("10.4.34-MariaDB", "10.4"),
            ("11.4.5-MariaDB-ubu2404", "11.4"),
            ("8.0.36", "8.0"),
            ("mariadb-backup based on MariaDB server 10.11.14-MariaDB debian-linux-gnu (x86_64)", "10.11"),
            ("xtrabackup version 8.0.35-31 based on MySQL server 8.0.35 Linux (x86_64) (revision id: 55ec21d7)", "8.0"),
            ("mariadb-backup: error while loading shared libraries", None),
            ("10.11", "10.11"),
            ("", None),
        ],
    )
    def test_the_version_texts_of_servers_and_tools_contain_the_major_version(
        self, text: str, version: str | None
    ) -> None:
        assert major_version(text) == version

    @given(text=any_text)
    @example(text="9" * 5000 + "." + "9" * 5000)
    def test_any_text_is_accepted(self, text: str) -> None:
        found = major_version(text)
        assert found is None or found in text

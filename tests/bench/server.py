"""The running database server that is the source of hot copies."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab import Host

SOCKET = "/run/mysqld/mysqld.sock"

_DATADIR = "/srv/mysql"
_TABLES = 8
_ROW_BYTES = 1100
"""The size of a row of 1,000 characters in the table space."""
_SECONDS = 600.0


class Server:
    """A database server on a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._process: subprocess.Popen[Any] | None = None

    def start(self, size: int) -> None:
        """Start a server with at least `size` bytes of data, with a gzip ratio of 2:1."""
        self._host.run(f"install -d -o mysql -g mysql {_DATADIR} /run/mysqld")
        self._host.run(
            f"mariadb-install-db --no-defaults --user=mysql --datadir={_DATADIR}"
            " --auth-root-authentication-method=socket --skip-test-db",
            timeout=_SECONDS,
        )
        options = "--no-defaults --user=mysql --skip-networking --innodb-buffer-pool-size=256M"
        self._process = self._host.popen(
            ("mariadbd", *options.split(), f"--datadir={_DATADIR}", f"--socket={SOCKET}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _SECONDS
        while self._host.run(self._client("SELECT 1"), check=False).returncode and time.monotonic() < deadline:
            time.sleep(0.1)
        rows = size // _TABLES // _ROW_BYTES
        self._execute("CREATE DATABASE bench")
        for number in range(_TABLES):
            self._execute(
                f"USE bench; CREATE TABLE table{number} (id INT PRIMARY KEY, data BLOB)"
                f" SELECT seq AS id, HEX(RANDOM_BYTES(500)) AS data FROM seq_1_to_{rows}"
            )
        # Dirty pages would slow down the first contender.
        self._execute("SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0, GLOBAL innodb_max_dirty_pages_pct = 0")
        while int(self._execute("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'").split()[1]) > 0:
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not write its pages to disk")
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill the server if it runs; its data is not needed any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _client(self, sql: str) -> tuple[str, ...]:
        return ("mariadb", "--no-defaults", f"--socket={SOCKET}", "--batch", "--skip-column-names", f"-e{sql}")

    def _execute(self, sql: str) -> str:
        return self._host.run(self._client(sql), timeout=_SECONDS).stdout.decode()

"""Writing to disk: it starts during the stream and ends before the rename."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import transfer
from watching import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

_NOTED = "/var/lib/sync-calls"
_WRAPPER = "/usr/local/bin/sync"


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with 120 megabytes on db1, whose transfer to db2 takes six seconds."""
    fill(clean_lab["db1"], "/srv/data/file", megabytes=120)
    clean_lab["db1"].shape("160mbit")
    clean_lab["db2"].run("mkdir /srv/in")
    return clean_lab


@contextmanager
def noted_syncs(host: Host, script: str) -> Iterator[None]:
    """Replace sync on a host: it records whether the stream still runs, and then runs a script."""
    wrapper = f"""#!/bin/sh
        if pgrep -x socat >/dev/null; then echo streaming; else echo afterwards; fi >>{_NOTED}
        {script}
    """
    host.run(f"cat >{_WRAPPER} && chmod 755 {_WRAPPER}", input=wrapper.encode())
    try:
        yield
    finally:
        host.run(["rm", "-f", _WRAPPER, _NOTED])


def test_the_copy_goes_to_disk_while_it_arrives(ready: Lab) -> None:
    with noted_syncs(ready["db2"], 'exec /usr/bin/sync "$@"'):
        transfer(ready, "--no-compress", "--no-checksum", "db1:/srv/data", "db2:/srv/in", check=True)
        calls = ready["db2"].sh(f"cat {_NOTED}").split()
    assert (calls[0], calls[-1]) == ("streaming", "afterwards")

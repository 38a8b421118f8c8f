"""A run removes from a target directory only entries that it created."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from helpers import transfer
from test_cleanup import session_on
from watching import SLOW, Run, assert_as_before, fill

if TYPE_CHECKING:
    from lab import Lab

DATA, INTO = "db1:/srv/data", "db2:/srv/in"
RENAMES = {
    "renamed": "mv /srv/in/.transferpy-* /srv/in/mine",
    "moved": "mkdir /srv/mine && mv /srv/in/.transferpy-* /srv/mine/deeper",
    "above": "mv /srv/in /srv/mine",
}


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with ten megabytes in /srv/data of db1, and a directory /srv/in on db2."""
    fill(clean_lab["db1"], "/srv/data/file")
    clean_lab["db2"].run("mkdir /srv/in")
    return clean_lab


@pytest.mark.parametrize("rename", RENAMES.values(), ids=RENAMES)
def test_a_staging_directory_that_was_renamed_is_removed_by_its_session(ready: Lab, rename: str) -> None:
    target = ready["db2"]
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, DATA, INTO) as run:
        run.wait_for_stream(target)
        target.run(rename)
        run.process.send_signal(signal.SIGTERM)
        assert run.end().status == 128 + signal.SIGTERM
    assert target.sh("find /srv -name file") == ""
    target.run("rm -rf /srv/in /srv/mine && mkdir /srv/in")
    assert_as_before(ready, before)


@pytest.mark.parametrize("rename", RENAMES.values(), ids=RENAMES)
def test_a_staging_directory_that_was_renamed_is_removed_by_the_next_run(ready: Lab, rename: str) -> None:
    source, target = ready["db1"], ready["db2"]
    before = ready.snapshot()
    source.shape(SLOW)
    with Run(ready, DATA, INTO) as run:
        run.wait_for_stream(target)
        run.process.send_signal(signal.SIGSTOP)  # otherwise it would clean up itself
        target.run(["kill", "-KILL", str(session_on(target))])
        run.process.send_signal(signal.SIGKILL)
        run.end()
    source.shape(None)
    target.run(rename)
    assert target.sh("find /srv -name file") != ""
    target.run("mkdir -p /srv/in")
    result = transfer(ready, DATA, INTO, check=True)
    assert re.search(r"INFO  db2: undid the changes of the stale run \w+\n", result.stderr), result.stderr
    assert target.sh("find /srv -name file") == "/srv/in/data/file"
    target.run("rm -rf /srv/in /srv/mine && mkdir /srv/in")
    assert_as_before(ready, before)


@pytest.mark.parametrize("source", ["data", "data/file"])
def test_a_copy_arrives_where_no_system_call_renames_without_replacing(ready: Lab, source: str) -> None:
    target = ready["db2"]
    name = source.rpartition("/")[2]
    with ExitStack() as stack:
        target.run("mkdir /srv/real && mergerfs /srv/real /srv/in")
        stack.callback(target.run, "umount /srv/in; rm -rf /srv/real")
        assert "Invalid argument" in target.run("mkdir /srv/in/x && perl -e '" + RENAME + "'").stderr.decode()
        transfer(ready, f"db1:/srv/{source}", INTO, check=True)
        place = "/srv/in/data" if name == "data" else "/srv/in"
        assert target.sh(f"cd {place} && md5sum file") == ready["db1"].sh("cd /srv/data && md5sum file")
        refused = transfer(ready, f"db1:/srv/{source}", INTO)
        assert refused.status == 4, refused.stderr


RENAME = (
    'my ($old, $new) = ("/srv/in/x", "/srv/in/y"); '
    'syscall(316, -100, $old, -100, $new, 1) == 0 or print STDERR "$!\\n"; rmdir $old'
)
"""Calls renameat2 with RENAME_NOREPLACE."""


def test_a_target_that_is_made_below_a_default_acl_is_for_root_only(ready: Lab) -> None:
    target = ready["db2"]
    target.run("setfacl -d -m u::rwx,g::rwx,o::rwx,u:1:rwx,m::rwx /srv/in")
    transfer(ready, "--create-target", DATA, f"{INTO}/a/b", check=True)
    for path in ("/srv/in/a", "/srv/in/a/b"):
        assert target.sh(f"getfacl -cp {path}").split() == ["user::rwx", "group::---", "other::---"]
    source = ready["db1"].sh("cd /srv && getfacl -Rcp data")
    assert target.sh("cd /srv/in/a/b && getfacl -Rcp data") == source

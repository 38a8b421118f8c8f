"""The commands of the Makefile install packages on the machine of the user: carefully, or not at all."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from lab import CHECKOUT, Host, Lab

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

pytestmark = pytest.mark.lab

SCRIPT = f"{CHECKOUT}/tests/setup/packages.sh"
SYSTEMS = f"{CHECKOUT}/tests/setup/systems.sh"
POLICY = "/usr/sbin/policy-rc.d"
OWN_POLICY = "#!/bin/sh\n# the administrator's own\nexit 0\n"
FAKES = "/usr/local/sbin"

# Reports that acl is missing, and the true state of all other packages.
DPKG_QUERY = """#!/bin/sh
case $* in *' acl') exit 1 ;; esac
exec /usr/bin/dpkg-query "$@"
"""
# Imitates the packages of Debian: calls the policy, and starts a service only if the policy allows it.
APT_GET = f"""#!/bin/bash
echo "$*" >>/srv/apt-get
[[ $* == *install* ]] || exit 0
{POLICY} ssh start && echo started >>/srv/apt-get
[ ! -e /srv/slow ] || {{ echo waiting >>/srv/apt-get; exec sleep 300; }}
[ ! -e /srv/broken ] || {{ echo 'E: no such package'; exit 100; }}
"""
# Creates the directories of a system, which no program can enter.
DEBOOTSTRAP = """#!/bin/bash
echo "$*" >>/srv/debootstrap
mkdir -p "$3"/{etc/apt/apt.conf.d,etc/dpkg/dpkg.cfg.d,usr/sbin,proc,var/lib/apt/lists}
[ ! -e /srv/broken ] || { echo 'E: the archive is unreachable'; exit 1; }
"""


@pytest.fixture(params=[None, OWN_POLICY], ids=["no policy", "a policy that allows"])
def policy(request: pytest.FixtureRequest) -> str | None:
    """The policy of the machine for service starts, before and after the installation."""
    assert request.param is None or isinstance(request.param, str)
    return request.param


@pytest.fixture
def host(clean_lab: Lab, policy: str | None) -> Iterator[Host]:
    """A host that lacks a package; its apt-get only records its calls."""
    host = clean_lab["db3"]
    before = host.run(f"cat {POLICY}", check=False)
    write(host, f"{FAKES}/dpkg-query", DPKG_QUERY)
    write(host, f"{FAKES}/apt-get", APT_GET)
    write(host, POLICY, policy)
    yield host
    host.sh(f"rm -f {FAKES}/dpkg-query {FAKES}/apt-get {POLICY}.before-transferpy")
    write(host, POLICY, before.stdout.decode() if before.returncode == 0 else None)


def write(host: Host, path: str, text: str | None) -> None:
    if text is None:
        host.sh(f"rm -f {path}")
    else:
        host.run(f"cat >{path} && chmod 755 {path}", input=text.encode())


def policy_of(host: Host) -> str | None:
    found = host.run(f"cat {POLICY}", check=False)
    return found.stdout.decode() if found.returncode == 0 else None


def start_slow(host: Host) -> subprocess.Popen[bytes]:
    """Start a slow installation, and return while it runs."""
    host.sh("touch /srv/slow")
    process = host.popen([SCRIPT], start_new_session=True)
    deadline = time.monotonic() + 60
    while host.run("grep -qx waiting /srv/apt-get", check=False).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "exit 101" in (policy_of(host) or "")
    return process


def test_missing_packages_are_installed_and_no_service_starts(host: Host, policy: str | None) -> None:
    output = host.sh(SCRIPT)
    assert output == "packages: installing acl"
    called = host.sh("cat /srv/apt-get").splitlines()
    assert [line.split("confold ")[1] for line in called] == ["update", "install --no-install-recommends -- acl"]
    assert policy_of(host) == policy


def test_an_installation_that_fails_reports_the_reason_and_restores_the_policy(host: Host, policy: str | None) -> None:
    host.sh("touch /srv/broken")
    failed = host.run([SCRIPT], check=False)
    assert failed.returncode == 1
    output = failed.stderr.decode()
    assert "E: no such package" in output
    assert "packages: apt-get could not install acl (see above)" in output
    assert policy_of(host) == policy


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_an_installation_that_is_ended_puts_the_policy_back(
    host: Host, policy: str | None, signum: signal.Signals
) -> None:
    process = start_slow(host)
    process.send_signal(signum)
    host.sh("pkill -xf 'sleep 300'")  # bash handles the signal after its child has ended, as with apt-get
    assert process.wait(60) == 128 + signum
    assert policy_of(host) == policy


def test_the_policy_that_a_killed_installation_left_is_put_back_by_the_next(host: Host, policy: str | None) -> None:
    process = start_slow(host)
    process.kill()
    process.wait()
    host.sh("pkill -xf 'sleep 300'; rm /srv/slow")
    assert policy_of(host) != policy
    host.sh(SCRIPT)
    assert policy_of(host) == policy


def test_apt_get_does_not_run_if_nothing_is_missing(host: Host, policy: str | None) -> None:
    host.sh(f"rm {FAKES}/dpkg-query")
    assert host.sh(SCRIPT) == ""
    assert host.run(["test", "-e", "/srv/apt-get"], check=False).returncode == 1
    assert policy_of(host) == policy


def test_without_root_the_missing_packages_are_printed_and_the_tests_continue(host: Host, policy: str | None) -> None:
    done = host.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", SCRIPT])
    assert done.stderr == b"packages: not installed, because this needs root: acl\n"
    assert host.run(["test", "-e", "/srv/apt-get"], check=False).returncode == 1
    assert policy_of(host) == policy


@pytest.fixture
def builder(clean_lab: Lab) -> Iterator[Host]:
    """A host that has no system of the suite "toy"; its debootstrap makes one at once."""
    host = clean_lab["db3"]
    write(host, f"{FAKES}/debootstrap", DEBOOTSTRAP)
    write(host, f"{FAKES}/chroot", "#!/bin/sh\n")
    yield host
    host.sh(f"rm -r {FAKES}/debootstrap {FAKES}/chroot /var/cache/transferpy-tests/toy-*")


def test_a_system_for_hosts_is_built_once_for_all_checkouts(builder: Host) -> None:
    builds = f"{SYSTEMS} toy & {SYSTEMS} toy & wait; {SYSTEMS} toy"
    first, *others = builder.sh(builds).splitlines()
    assert first.startswith("/var/cache/transferpy-tests/toy-")
    assert others == [first, first]
    assert builder.sh("wc -l </srv/debootstrap") == "1"
    assert builder.sh(f"ls {first}") == "etc\nproc\nusr\nvar"


def test_a_system_that_cannot_be_built_leaves_nothing_and_the_next_run_builds_it(builder: Host) -> None:
    builder.sh("touch /srv/broken")
    failed = builder.run([SYSTEMS, "toy"], check=False)
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert "E: the archive is unreachable\nsystems: could not build Debian toy (see above)" in failed.stderr.decode()
    assert "toy" not in builder.sh("ls /var/cache/transferpy-tests")
    builder.sh("rm /srv/broken")
    assert builder.sh(f"ls $({SYSTEMS} toy)") == "etc\nproc\nusr\nvar"

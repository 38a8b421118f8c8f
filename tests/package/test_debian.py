"""Tests that build, install, use, upgrade and remove the Debian packages in minimal systems of Debian 12 and 13."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest
from lab import CHECKOUT, Firewall, HostSpec, Lab
from roots import MINUTES_OF_APT, Root, bootstrap

from transferpy import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2 * MINUTES_OF_APT * 60)]

HOSTS = {"orch": HostSpec(), "db1": HostSpec(firewall=Firewall.IPTABLES), "db2": HostSpec(firewall=Firewall.NFTABLES)}
CONFIGURATION = "/etc/transferpy/transferpy.conf"
OLDER = "0.9"
NUMBERS = count()
SOURCE = "/build/transferpy"
CHECK = "lintian --allow-root --display-info --pedantic /build/*.changes"
# The package follows the policy of Debian 12. This is the only finding of lintian in Debian 13.
LATER_POLICY = "I: transferpy source: out-of-date-standards-version 4.6.2 "
LISTING = (
    "cd /srv/tree && find . -printf '%P %y %m %U %G %T@ %l\\n' | sort && find . -type f -exec sha256sum {} + | sort"
)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A lab, and three systems on its orchestration host: minimal, with build tools, with the package."""

    lab: Lab
    minimal: Root
    builder: Root
    installed: Root


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with Lab.up(HOSTS) as lab:
        minimal = bootstrap(lab["orch"], request.param)
        builder = minimal.copy("builder")
        build(builder)
        installed = minimal.copy("installed")
        give(builder, installed, __version__)
        installed.install(f"/root/transferpy_{__version__}_all.deb")
        yield Site(lab=lab, minimal=minimal, builder=builder, installed=installed)


@pytest.fixture
def system(site: Site) -> Root:
    """A private system for one test, with the package installed."""
    return site.installed.copy(f"system-{next(NUMBERS)}")


def build(builder: Root) -> None:
    """Build the package from the tracked files; run its tests unless DEB_BUILD_OPTIONS contains nocheck."""
    unpack(builder)
    builder.install("build-essential", "lintian")
    builder.online(f"cd {SOURCE} && apt-get --quiet --yes --no-install-recommends build-dep ./")
    package(builder, os.environ.get("DEB_BUILD_OPTIONS", f"parallel={os.cpu_count()}"))


def unpack(system: Root) -> None:
    """Copy the tracked files of this checkout, with uncommitted changes, into a system."""
    changed = git("stash", "create").decode().strip()
    system.host.run(["mkdir", "-p", system.path + SOURCE])
    system.host.run(["tar", "-xC", system.path + SOURCE], input=git("archive", changed or "HEAD"))


def package(builder: Root, options: str) -> None:
    builder.run(f"cd {SOURCE} && DEB_BUILD_OPTIONS='{options}' dpkg-buildpackage -us -uc", timeout=900)


def git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", CHECKOUT, *words], capture_output=True, check=True).stdout


def give(builder: Root, system: Root, version: str) -> None:
    """Copy the packages of a version to /root of a system."""
    builder.host.sh(f"cp {builder.path}/build/*_{version}_all.deb {system.path}/root")


def test_lintian_finds_nothing(site: Site) -> None:
    reported = site.builder.run(CHECK).splitlines()
    assert [line for line in reported if not line.startswith(LATER_POLICY)] == []


def test_uscan_finds_a_newer_release_by_the_watch_file_and_nothing_when_there_is_none(site: Site) -> None:
    system = site.builder.copy("watching")
    system.install("devscripts", "git")
    watched = re.search(r"https://\S+", (CHECKOUT / "debian/watch").read_text())
    assert watched
    # This address does not exist, so git is redirected to a directory.
    elsewhere = f"GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=url./build/published.insteadOf GIT_CONFIG_VALUE_0={watched[0]}"
    look = f"cd {SOURCE} && {elsewhere} uscan --dehs --report || true"  # fails if there is no newer version
    release = "git -C /build/published update-ref refs/tags/v{} $(git -C /build/published mktree </dev/null)"

    system.run(f"git init --quiet --bare /build/published && {release.format(__version__)}")
    assert "<status>up to date</status>" in system.run(look)
    newer = f"{__version__}.1"
    system.run(release.format(newer))
    found = system.run(look)
    assert f"<upstream-version>{newer}</upstream-version>" in found
    assert "<status>newer package available</status>" in found


def test_the_build_leaves_nothing_that_clean_does_not_remove(site: Site) -> None:
    system = site.builder.copy("cleaned")
    system.run(f"cd {SOURCE} && dpkg-buildpackage -us -uc --rules-target=clean")
    made = system.run(f"cd {SOURCE} && find . ! -type d | sort").splitlines()
    tracked = git("ls-files").decode().splitlines()
    assert {name.removeprefix("./") for name in made} <= set(tracked)


def test_the_installed_command_has_its_page_its_completions_and_its_examples(site: Site) -> None:
    assert site.installed.run("transfer.py --version").split() == ["transfer.py", __version__]
    listed = site.installed.run("dpkg-query --listfiles transferpy").splitlines()
    assert {
        "/usr/bin/transfer.py",
        CONFIGURATION,
        "/usr/share/man/man1/transfer.py.1.gz",
        "/usr/share/bash-completion/completions/transfer.py.bash",
        "/usr/share/zsh/vendor-completions/_transfer_py",
        "/usr/share/doc/transferpy/examples/nightly.yaml",
        "/usr/share/doc/transferpy/html/index.html",
        "/usr/share/doc/transferpy/html/_images/session.svg",
    } <= set(listed)
    # The package links to files that it shares with other manuals.
    assert site.installed.run("find -L /usr/share/doc/transferpy -type l") == ""
    assert site.installed.run("dpkg-query --show --showformat '${Conffiles}' transferpy").split()[::2] == [
        CONFIGURATION
    ]


def test_a_system_with_nothing_but_the_package_and_its_dependencies_copies_a_tree(site: Site, system: Root) -> None:
    orch, db1, db2 = site.lab
    orch.sh(f"cd / && cp --archive --parents root/.ssh etc/hosts etc/ssh/ssh_known_hosts etc/cumin {system.path}")
    db1.sh("mkdir /srv/tree && cp --archive /etc /usr/lib/python3 /srv/tree && chown -R daemon /srv/tree/etc")
    before = (db1.snapshot(), db2.snapshot())
    system.run("transfer.py db1:/srv/tree db2:/srv")
    assert db1.sh(LISTING) == db2.sh(LISTING)
    db2.sh("rm -r /srv/tree")
    assert (db1.snapshot(), db2.snapshot()) == before


def ours(system: Root) -> set[str]:
    """Return all files with the name of the program or the package, including those of the package manager."""
    return set(system.run("find / -path /proc -prune -o -regex '.*transfer[._]?py.*' -print").splitlines())


def test_a_removed_package_keeps_its_configuration_and_a_purged_one_nothing(system: Root) -> None:
    system.run(f"mv /root/transferpy_{__version__}_all.deb /tmp/new.deb && rm /root/*.deb")
    system.apt("remove", "transferpy")
    assert {path for path in ours(system) if "/dpkg/" not in path} == {"/etc/transferpy", CONFIGURATION}
    system.apt("purge", "transferpy")
    assert ours(system) == set()

    before = system.files()
    system.apt("install", "/tmp/new.deb")
    system.run("transfer.py --help")
    assert system.files() > before
    system.apt("purge", "transferpy")
    assert system.files() == before


def test_an_upgrade_keeps_a_configuration_that_was_changed(site: Site, system: Root) -> None:
    older = site.builder.copy("older")
    older.run(
        f"cd {SOURCE} && sed -i '1s/({__version__})/({OLDER})/' debian/changelog"
        f" && sed -i 's/{__version__}/{OLDER}/' transferpy/__init__.py && sed -i '1s/^# /# Old /' transferpy.conf"
    )
    package(older, "nocheck")
    give(older, system, OLDER)
    system.apt("purge", "transferpy")
    system.apt("install", f"/root/transferpy_{OLDER}_all.deb")
    assert system.run("transfer.py --version").split() == ["transfer.py", OLDER]

    system.run(f"echo 'port = 4444' >>{CONFIGURATION}")
    changed = system.run(f"cat {CONFIGURATION}")
    assert changed.startswith("# Old ")
    system.apt("install", f"/root/transferpy_{__version__}_all.deb")
    assert system.run("transfer.py --version").split() == ["transfer.py", __version__]
    assert system.run(f"cat {CONFIGURATION}") == changed
    system.run("rm /root/*.deb")
    system.apt("purge", "transferpy")
    assert ours(system) == set()


def test_the_test_of_the_package_copies_between_hosts_with_the_package_for_hosts(site: Site, system: Root) -> None:
    needed = re.findall(r"^ ([\w-]+),$", (CHECKOUT / "debian/tests/control").read_text(), re.MULTILINE)
    give(site.builder, system, __version__)
    others = (name for name in needed if name not in {"transferpy", "transferpy-host"})
    system.install(f"/root/transferpy-host_{__version__}_all.deb", *others)
    unpack(system)
    assert "both copies are equal to the source" in system.run(f"{SOURCE}/debian/tests/transfer", timeout=300)

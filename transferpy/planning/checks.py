"""What speaks against a transfer: every reason that the request and the hosts' answers give, one line each."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from transferpy.MariaDB import BACKUP_TOOLS, CLIENTS, UNPACK_TOOLS, major_version
from transferpy.model.facts import HostFacts, TargetFacts, TargetState
from transferpy.model.locations import Location
from transferpy.model.options import FirewallChoice, TransferType
from transferpy.model.tools import PACKAGES
from transferpy.planning.context import PlanContext, best_netcat, first_there, has_socat, is_ipv6
from transferpy.stream.tar import decompressors
from transferpy.stream.transports import netcat_speaks_ipv6

_LIST_BYTES = 850  # for each entry: a path of 70 characters, in all the lists that are there at once
_SLACK_BYTES = 1 << 20  # the target's directories and block sizes differ a little from the source's


@dataclass(frozen=True)
class PreflightChecks(PlanContext):
    """The reasons, found by :meth:`all`."""

    def all(self) -> list[str]:
        """Return every reason that speaks against the transfer."""
        found = [problem for facts in self.facts.values() for problem in self._host_problems(facts)]
        for _, location, target in self.answered:
            found += self._directory_problems(location, target)
        found += self._twice_problems()
        if self.options.transfer_type is TransferType.XTRABACKUP:
            found += [problem for facts in self.facts.values() for problem in self._backup_tool_problems(facts)]
        if self.request.source.host in self.facts:
            if self.options.transfer_type is TransferType.XTRABACKUP:
                found += self._server_problems()
            else:
                found += self._source_problems()
            if self.options.transfer_type is TransferType.DECOMPRESS:
                found += self._tarball_problems()
            for index, location, target in self.answered:
                found += self._name_problems(location, target)
                found += self._route_problems(index, location)
            found += self._space_problems()
            found += self._list_problems()
        return list(dict.fromkeys(found))

    def _host_problems(self, facts: HostFacts) -> Iterable[str]:
        if facts.uid != 0:
            yield f"{facts.host}: commands run as user id {facts.uid}, but owners and firewalls need root"
        for tool in self._needed_tools(facts):
            if tool not in facts.tools:
                package = f" (Debian package {PACKAGES[tool]})" if tool in PACKAGES else ""
                yield f"{facts.host}: {tool} is missing{package}"
        if not {"ss", "netstat"} & facts.tools:
            yield f"{facts.host}: ss is missing (Debian package iproute2), and so is netstat (net-tools)"
        if not self.options.encrypt and not has_socat(facts) and not best_netcat(facts):
            yield f"{facts.host}: socat is missing (Debian package socat), and so is nc (netcat-openbsd)"
        if facts.unknown_owner:
            yield f"{facts.host}: knows no {facts.unknown_owner}, who is to own the copy (--owner)"
        backend = {FirewallChoice.IPTABLES: "iptables", FirewallChoice.NFTABLES: "nft"}.get(self.options.firewall)
        if backend and facts.targets and backend not in "".join(facts.firewalls):
            yield f"{facts.host}: {backend} is missing (Debian package {PACKAGES[backend]}), which --firewall asks for"

    def _needed_tools(self, facts: HostFacts) -> list[str]:
        tools = ["tar", "flock", "awk", "cmp", "md5sum", "getent", "perl"]
        if self.options.encrypt:
            tools += ["socat", "openssl"]
        if facts.host == self.request.source.host:
            tools.append("ip")
        return tools

    def _backup_tool_problems(self, facts: HostFacts) -> Iterable[str]:
        is_source = facts.host == self.request.source.host
        needed: list[tuple[str, ...]] = [CLIENTS, BACKUP_TOOLS] if is_source else []
        if facts.targets:
            needed += [UNPACK_TOOLS, BACKUP_TOOLS] if self.options.prepare else [UNPACK_TOOLS]
        for tools in needed:
            if not first_there(tools, facts):
                package = "mariadb-client" if tools is CLIENTS else "mariadb-backup"
                yield f"{facts.host}: {tools[0]} is missing (Debian package {package})"

    def _source_problems(self) -> Iterable[str]:
        if not self.source.kind:
            yield f"{self.request.source}: no such file or directory"
        elif self.source.kind == "s":
            yield f"{self.request.source}: is a socket, which cannot be copied; for a hot copy: --type xtrabackup"
        elif not self.source.name:
            yield f"{self.request.source}: is the root directory, which is not copied as a whole"
        elif self.source.error:
            yield f"{self.request.source}: cannot be read: {self.source.error}"

    def _tarball_problems(self) -> Iterable[str]:
        if self.source.kind not in {"", "f", "l"}:
            yield f"{self.request.source}: is not a file; --type decompress needs a tarball"
        elif self.source.kind and not self.source.error:
            programs = decompressors(*self.source_host.magic)
            if programs is None:
                yield f"{self.request.source}: does not begin as a tarball does (gzip, zstd, lz4, xz or plain tar)"
            for facts in self.facts.values():
                if facts.targets and programs and not first_there(programs, facts):
                    yield f"{facts.host}: {programs[-1]} is missing (Debian package {PACKAGES[programs[-1]]})"

    def _server_problems(self) -> Iterable[str]:
        match self.database.state:
            case "missing":
                yield f"{self.request.source}: no such socket; does the server run?"
            case "other":
                yield f"{self.request.source}: is not a socket; --type xtrabackup needs that of a running server"
            case "silent":
                yield f"{self.request.source}: the server does not answer as it should: {self.database.error}"
            case _:
                yield from self._version_problems()

    def _version_problems(self) -> Iterable[str]:
        """The tool of another major version cannot read, or not prepare, what the server writes."""
        server = major_version(self.database.version)
        for facts in self.facts.values():
            tool = first_there(BACKUP_TOOLS, facts)
            version = major_version(facts.backup_versions.get(tool, "")) if tool else None
            if version and version != server:
                yield f"{facts.host}: {tool} is of version {version}, but the server of {server}"

    def _directory_problems(self, location: Location, target: TargetFacts) -> Iterable[str]:
        match target.state:
            case TargetState.MISSING if not self.options.create_target:
                yield f"{location}: no such directory; make it first"
            case TargetState.OTHER:
                yield f"{location}: is not a directory; a target is the directory that the copy goes into"
            case TargetState.READ_ONLY:
                yield f"{location}: cannot be written to"
        if self.options.transfer_type is not TransferType.FILE and not target.empty:
            left = f" (what {', '.join(target.leftovers)} holds is half a copy; remove it)" if target.leftovers else ""
            yield f"{location}: is not empty; --type {self.options.transfer_type} needs an empty directory{left}"
        if self.options.port in self.facts[location.host].listening:
            yield f"{location.host}: port {self.options.port} is in use"

    def _name_problems(self, location: Location, target: TargetFacts) -> Iterable[str]:
        if self.options.transfer_type is not TransferType.FILE:
            return
        final = self.final(location)
        same_machine = self.facts[location.host].boot == self.source_host.boot
        if same_machine and self.source.kind == "d" and self.source.identity in target.ancestors:
            yield f"{location}: lies inside the source {self.request.source}"
        elif target.taken and same_machine and target.final_identity == self.source.identity:
            yield f"{final}: is the source itself"
        elif target.taken:
            yield f"{final}: exists already; nothing is ever overwritten"

    def _route_problems(self, index: int, location: Location) -> Iterable[str]:
        route = self.source_host.routes.get(index)
        if route is None:
            yield (
                f"{self.request.source.host}: has no address of {location.host}, or no route to it;"
                " make its name known there, in DNS or /etc/hosts"
            )
        elif not self.options.encrypt and is_ipv6(route.address):
            for facts in {self.source_host.host: self.source_host, location.host: self.facts[location.host]}.values():
                found = best_netcat(facts)
                if found and not netcat_speaks_ipv6(found[1]) and not has_socat(facts):
                    yield f"{facts.host}: {found[0]} knows no IPv6 (Debian package socat does)"

    def _space_problems(self) -> Iterable[str]:
        """Targets on one file system share its space."""
        sharing: dict[tuple[str, str], list[tuple[Location, TargetFacts]]] = defaultdict(list)
        for _, location, target in self.answered:
            if target.ancestors:
                sharing[location.host, target.ancestors[0].partition(":")[0]].append((location, target))
        for together in sharing.values():
            location, target = together[0]
            needed = (self.source.disk + _SLACK_BYTES) * len(together)
            inodes = (self.source.inodes + 2) * len(together)
            if needed > target.free:
                yield f"{location}: {needed:,} bytes are needed, but only {target.free:,} are free"
            if target.inodes is not None and inodes > target.inodes:
                yield f"{location}: {inodes:,} inodes are needed, but only {target.inodes:,} are free"

    def _list_problems(self) -> Iterable[str]:
        """The lists of both ends are in /run, which is small where memory is."""
        if self.options.transfer_type is not TransferType.FILE:
            return
        needed = self.source.inodes * _LIST_BYTES
        for facts in self.facts.values():
            if facts.run is not None and needed > facts.run:
                yield f"{facts.host}: the lists need {needed:,} bytes in /run, but only {facts.run:,} are free"

    def _twice_problems(self) -> Iterable[str]:
        """Two spellings of one directory are one target."""
        seen: dict[tuple[str, str], Location] = {}
        for _, location, target in self.answered:
            if not target.ancestors:
                continue
            key = (self.facts[location.host].boot, target.ancestors[0])
            if key in seen:
                yield f"{location}: is the same directory as {seen[key]}; this target is given twice"
            seen.setdefault(key, location)

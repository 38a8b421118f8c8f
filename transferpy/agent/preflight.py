"""The preflight query for one host, and the script that runs it there."""

from dataclasses import dataclass

from transferpy.host import assemble
from transferpy.MariaDB import BACKUP_TOOLS
from transferpy.model.options import FIREWALL_BACKENDS
from transferpy.model.tools import NETCATS, packages
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command


@dataclass(frozen=True, kw_only=True)
class Route:
    """The query for the route from the source to one target."""

    index: int  # index of the target in the request
    host: str  # name of the target's host
    addresses: tuple[str, ...] = ()  # addresses to try where the source cannot resolve the name


@dataclass(frozen=True, kw_only=True)
class PreflightQuery:
    """The query for one host, in addition to the general facts about it."""

    # path of the source, on its host, unless the source is a socket; a slash at the end follows a link
    source_path: str | None = None
    one_file_system: bool = False  # count only what is on the file system of the source
    magic: bool = False  # read the first bytes of the source
    database: tuple[str, ...] = ()  # the source socket, and the options of the client
    backup: bool = False  # find the versions of the backup tools
    routes: tuple[Route, ...] = ()  # the targets to find routes to, on the source host
    targets: tuple[tuple[int, str, str], ...] = ()  # index, directory and final name of each target on this host
    netcat: bool = False  # find the flavour of each netcat
    owner: str = ""  # USER or USER:GROUP to look up, on hosts of targets; empty for none
    low_priority: bool = False  # run the query with low CPU and I/O priority


def preflight_script(run_id: str, query: PreflightQuery, *, dry_run: bool = False) -> str:
    """Return the script that runs the preflight query on a host.

    The script changes nothing but undoes the changes of stale runs. At its end it waits on its standard input for the
    script that ``RemoteExecution.hand_script`` sends; a line that is not a number ends it. With ``dry_run`` it does
    neither.
    """
    calls: list[tuple[str, ...]] = [] if dry_run else [("keep_input",)]
    calls += [("start_activity_reports",), *[("recover_stale_runs",)] * (not dry_run)]
    calls += [*[("lower_priority",)] * query.low_priority, ("host_facts", *packages()), ("buffer_facts",)]
    if query.netcat:
        calls.append(("netcat_facts", *NETCATS))
    if query.source_path is not None:
        calls += [
            ("announce_path", query.source_path),
            ("source_facts", query.source_path, *["-xdev"] * query.one_file_system),
        ]
        calls += [("magic_facts", query.source_path.rstrip("/"))] if query.magic else []
    if query.database:
        calls.append(("database_facts", *query.database))
    if query.backup:
        calls.append(("backup_facts", *BACKUP_TOOLS))
    calls.append(("announce_path", ""))
    calls += [("route_facts", str(route.index), route.host, *route.addresses) for route in query.routes]
    if query.targets:
        calls += [(f"{backend}_facts",) for backend in FIREWALL_BACKENDS]
    for index, directory, name in query.targets:
        calls += [("announce_path", directory), ("target_facts", str(index), directory, name)]
    calls += [("owner_facts", query.owner)] if query.owner else []
    calls += [("emit", "asked"), ("stop_activity_reports",), *[("run_next_script",)] * (not dry_run)]
    commands = "\n".join(render_command(Command(call)) for call in calls)
    return assemble("preflight/main", variables={"run_id": run_id}, call=commands)

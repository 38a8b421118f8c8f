"""The preflight query for each host of a request."""

from collections.abc import Mapping

from transferpy import MariaDB
from transferpy.agent.preflight import PreflightQuery, Route
from transferpy.model.options import Priority, TransferType
from transferpy.model.request import TransferRequest


def preflight_queries(request: TransferRequest, addresses: Mapping[str, tuple[str, ...]]) -> dict[str, PreflightQuery]:
    """Return what to ask each host of the request.

    Args:
        request: with hosts that are resolved.
        addresses: what the orchestration host knows of each target's addresses; for sources that cannot resolve names.
    """
    name = request.final_name
    is_backup = request.options.transfer_type is TransferType.XTRABACKUP
    is_tarball = request.options.transfer_type is TransferType.DECOMPRESS
    routes = tuple(
        Route(index=index, host=target.host, addresses=addresses.get(target.host, ()))
        for index, target in enumerate(request.targets)
    )
    socket = request.source.path
    asked: dict[str, PreflightQuery] = {}
    for host in dict.fromkeys([request.source.host, *(target.host for target in request.targets)]):
        is_source = host == request.source.host
        asked[host] = PreflightQuery(
            # A tarball may be a link to the latest one, which is what is read.
            source_path=request.source.path + "/" * is_tarball if is_source and not is_backup else None,
            magic=is_tarball,
            database=(socket, *MariaDB.login(socket, request.options.defaults_file)) if is_source and is_backup else (),
            backup=is_backup,
            routes=routes if is_source else (),
            targets=tuple(
                (index, target.path, name) for index, target in enumerate(request.targets) if target.host == host
            ),
            netcat=not request.options.encrypt,
            owner=request.options.owner if any(target.host == host for target in request.targets) else "",
            low_priority=request.options.priority is Priority.LOW,
        )
    return asked

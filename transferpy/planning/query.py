"""The preflight query for each host of a request."""

from collections.abc import Mapping

from transferpy.agent.preflight import PreflightQuery, Route
from transferpy.model.options import LOW_PRIORITY
from transferpy.model.request import TransferRequest
from transferpy.planning.types import transfer_type_strategy


def preflight_queries(request: TransferRequest, addresses: Mapping[str, tuple[str, ...]]) -> dict[str, PreflightQuery]:
    """Return the query for each host of the request.

    Args:
        request: with hosts that are resolved.
        addresses: the addresses of each target that the orchestration host finds, for a source that finds none.
    """
    options = request.options
    strategy = transfer_type_strategy(options.transfer_type)
    routes = tuple(
        Route(index=index, host=target.host, addresses=addresses.get(target.host, ()))
        for index, target in enumerate(request.targets)
    )
    queries: dict[str, PreflightQuery] = {}
    for host in dict.fromkeys([request.source.host, *(target.host for target in request.targets)]):
        is_source = host == request.source.host
        targets = tuple(
            (index, target.path, request.final_name)
            for index, target in enumerate(request.targets)
            if target.host == host
        )
        query = PreflightQuery(
            routes=routes if is_source else (),
            targets=targets,
            netcat=not options.encrypt,
            owner=options.owner if targets else "",
            low_priority=options.priority == LOW_PRIORITY,
        )
        queries[host] = strategy.query(query, request, is_source=is_source)
    return queries

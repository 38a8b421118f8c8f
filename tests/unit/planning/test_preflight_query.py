"""The preflight query for each host."""

import pytest
from fleet import (
    REQUEST,
    request,
)

from transferpy.agent.preflight import PreflightQuery, Route
from transferpy.model.locations import Location
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest
from transferpy.planning.query import preflight_queries


def test_each_host_gets_one_query() -> None:
    wanted = request("db1:/srv/x", "db2:/srv/y", "db1:/srv/z", "db2:/srv/z", encrypt=False)
    asked = preflight_queries(wanted, {"db2": ("198.18.0.2",)})
    assert asked == {
        "db1": PreflightQuery(
            source_path="/srv/x",
            routes=(
                Route(index=0, host="db2", addresses=("198.18.0.2",)),
                Route(index=1, host="db1"),
                Route(index=2, host="db2", addresses=("198.18.0.2",)),
            ),
            targets=((1, "/srv/z", "x"),),
            netcat=True,
        ),
        "db2": PreflightQuery(targets=((0, "/srv/y", "x"), (2, "/srv/z", "x")), netcat=True),
    }


def test_the_query_is_for_netcats_only_without_encryption() -> None:
    assert not any(asked.netcat for asked in preflight_queries(REQUEST, {}).values())


@pytest.mark.parametrize("priority", ["normal", "low"])
def test_the_query_has_the_priority_of_the_run(priority: str) -> None:
    asked = preflight_queries(request("db1:/srv/x", "db2:/srv/y", priority=priority), {})
    assert {host: found.low_priority for host, found in asked.items()} == dict.fromkeys(
        ("db1", "db2"), priority == "low"
    )


@pytest.mark.parametrize(
    ("path", "name"), [("/srv/x", "x"), ("/srv/x/", "x"), ("/x//", "x"), ("x", "x"), ("/srv/x\n", "x\n")]
)
def test_the_copy_has_the_name_that_the_path_ends_with(path: str, name: str) -> None:
    assert (
        TransferRequest(
            source=Location(host="db1", path=path),
            targets=(Location(host="db2", path="/srv"),),
            options=TransferOptions(),
        ).final_name
        == name
    )

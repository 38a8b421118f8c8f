"""Names of hosts, with the cumin that is installed here."""

import pytest
from cumin.query import Query
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.cumin_transport import find_hosts

# How cumin calls pyparsing is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DIRECT = {"transport": "clustershell", "default_backend": "direct"}
NAMES = st.from_regex(r"[a-zA-Z0-9._-]{1,12}", fullmatch=True)


@given(word=NAMES | st.lists(st.sampled_from(["and", "or", "not", "xor", "db1", "db[1-3]"]), max_size=3).map(" ".join))
@example(word="AND")
@example(word="order")
@example(word="and-")
@example(word="or.x")
@example(word="xor_")
@example(word="db001")
@example(word="db1\n")
def test_a_name_is_the_host_that_cumin_takes_it_for(word: str) -> None:
    try:
        expected = tuple(map(str, Query(DIRECT).execute(word)))
    except Exception:  # noqa: BLE001 - whatever cumin raises
        with pytest.raises(RemoteExecutionError, match="cumin cannot find this host: "):
            find_hosts(DIRECT, word)
    else:
        assert find_hosts(DIRECT, word) == expected


@pytest.mark.parametrize("config", [{"default_backend": "none"}, {"transport": "clustershell"}])
def test_a_name_is_a_query_where_the_administrator_has_another_back_end(config: dict[str, str]) -> None:
    with pytest.raises(RemoteExecutionError, match="db1: cumin cannot find this host: "):
        find_hosts(config, "db1")

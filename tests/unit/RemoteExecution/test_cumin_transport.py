"""Names of hosts, with the cumin that is installed here."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from cumin.query import Query
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.cumin_transport import execute, find_hosts, load_config, with_ssh_settings
from transferpy.RemoteExecution.running_job import RunningJob

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


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "found the end of the file|expected the node content"),
        ("- direct", "not a mapping|must be|parsed"),
        ("default_backend: [", "expected the node content"),
    ],
)
def test_an_invalid_configuration_is_an_error_with_the_path(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(RemoteExecutionError, match=rf"^{path}: invalid cumin configuration: .*({problem})"):
        load_config(str(path))


def test_an_empty_or_missing_configuration_has_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert load_config(str(path)) == DIRECT
    path.write_text("")
    assert load_config(str(path)) == DIRECT


@pytest.mark.parametrize("options", ["-v", ["-v"], None])
def test_the_options_of_the_administrator_come_before_other_options(options: object) -> None:
    settings = with_ssh_settings({**DIRECT, "clustershell": {"ssh_options": options, "ssh_path": "myssh"}})
    section = settings["clustershell"]
    assert section["ssh_path"] == "myssh"
    assert section["ssh_options"][:-2] == ([] if options is None else ["-v"])
    assert section["ssh_options"][-2].startswith("-oServerAlive")
    assert with_ssh_settings(DIRECT)["clustershell"]["ssh_path"] == "setsid ssh"


@pytest.mark.parametrize("target", ["db[1-2]", "db1,db2"])
def test_a_command_runs_on_one_host_only(target: str) -> None:
    job = RunningJob("db1", target, "true", on_line=None, on_end=None, takes_input=False)
    with pytest.raises(RemoteExecutionError, match=r"^not a plain host name$"):
        execute(DIRECT, job)


def test_a_command_of_which_cumin_returns_no_exit_status_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that ends without an event of the command."""
    job = RunningJob("db1", "db1", "true", on_line=None, on_end=None, takes_input=False)
    worker = SimpleNamespace(execute=lambda: None)
    monkeypatch.setattr("transferpy.RemoteExecution.cumin_transport.Transport.new", lambda _config, _target: worker)
    with pytest.raises(RemoteExecutionError, match=r"^cumin returned no exit status$"):
        execute(DIRECT, job)
    assert worker.handler.job is job

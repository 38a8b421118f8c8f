"""Names of hosts, with the cumin that is installed here."""

import subprocess
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
def test_the_options_of_the_administrator_come_before_the_time_limits_only(options: object) -> None:
    settings = with_ssh_settings({**DIRECT, "clustershell": {"ssh_options": options, "ssh_path": "myssh"}})
    section = settings["clustershell"]
    assert section["ssh_path"] == "myssh"
    words = section["ssh_options"]
    assert words[0] == "-oRemoteCommand=none"
    assert words[-1] == "-T"
    assert words.index("-oServerAliveInterval=5") == words.index("-oLogLevel=INFO") + (2 if options is None else 3)
    assert with_ssh_settings(DIRECT)["clustershell"]["ssh_path"] == "setsid ssh"


HOSTILE_SSH_CONFIG = """
Match all
  RequestTTY force
  RemoteCommand cat
  SessionType none
  StdinNull yes
  ForkAfterAuthentication yes
  ControlMaster auto
  ControlPath /tmp/%C
  ControlPersist 600
  LocalForward 2222 localhost:22
  ForwardAgent yes
  ForwardX11 yes
  Tunnel yes
  PermitLocalCommand yes
  LocalCommand echo hello
  LogLevel DEBUG3
  VisualHostKey yes
  BatchMode no
  User dba
  Port 2200
  IdentityFile /keys/dba
  HostName 198.18.0.99
  ProxyJump jump
"""

EFFECTIVE_SSH_CONFIG = """\
requesttty false
sessiontype default
stdinnull no
forkafterauthentication no
controlmaster false
clearallforwardings yes
forwardagent no
forwardx11 no
tunnel false
permitlocalcommand no
loglevel INFO
visualhostkey no
batchmode yes
user dba
port 2200
identityfile /keys/dba
hostname 198.18.0.99
proxyjump jump"""


@pytest.mark.parametrize("options", [None, "-t -t", ["-o RequestTTY=force", "-o ForwardAgent=yes"]])
def test_ssh_gets_the_login_of_the_administrator_and_no_option_that_breaks_the_protocol(
    tmp_path: Path, options: object
) -> None:
    (tmp_path / "config").write_text(HOSTILE_SSH_CONFIG)
    words = with_ssh_settings({**DIRECT, "clustershell": {"ssh_options": options}})["clustershell"]["ssh_options"]
    command = ["ssh", "-F", str(tmp_path / "config"), "-G", *" ".join(words).split(), "db1"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert set(EFFECTIVE_SSH_CONFIG.split("\n")) - set(printed) == set()
    assert not [line for line in printed if line.startswith(("remotecommand ", "controlpath ")) and "none" not in line]


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

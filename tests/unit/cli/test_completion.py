"""Shell completion knows what the parser knows: its files follow the parser, and bash says what it offers."""

import re
import subprocess
import textwrap
from argparse import Action
from pathlib import Path

import pytest

from transferpy import transfer

COMPLETION = Path(__file__).parents[3] / "docs/completion"
ACTIONS = [action for action in transfer.argument_parser()._actions if action.option_strings]
FILES = {"config", "job", "report", "metrics", "log_file"}


def for_zsh(text: str) -> str:
    return re.sub(r"([\[\]:])", r"\\\1", text.replace("'", "'\\''"))


def zsh_lines(action: Action) -> list[str]:
    help_text = (action.help or "").partition(" (default")[0].partition("; ")[0]
    completer = f"({' '.join(action.choices)})" if action.choices else "_files" * (action.dest in FILES)
    completer = completer or "_users" * (action.dest == "owner")
    value = f"{str(action.metavar or action.dest).lower().partition('[')[0]}:{completer}"
    return [
        f"  '{word}[{for_zsh('do not ' * word.startswith('--no-') + help_text)}]' \\"
        if action.nargs == 0
        else f"  '{word}=[{for_zsh(help_text)}]:{value}' \\"
        for word in action.option_strings
    ]


def check(name: str, head: str, foot: str, lines: list[str], *, update: bool) -> None:
    path = COMPLETION / name
    before, _, rest = path.read_text().partition(head)
    _, _, after = rest.partition(foot)
    expected = before + head + "".join(f"{line}\n" for line in lines) + foot + after
    if update:
        path.write_text(expected)
    assert path.read_text() == expected, "write it with: pytest --update-golden"


def test_bash_completes_every_option_of_the_parser(pytestconfig: pytest.Config) -> None:
    words = " ".join(word for action in ACTIONS for word in action.option_strings)
    lines = textwrap.wrap(words, 110, break_on_hyphens=False, break_long_words=False)
    check(
        "transfer.py.bash", "_transfer_py_options='\n", "'\n", lines, update=pytestconfig.getoption("--update-golden")
    )


def test_zsh_completes_every_option_of_the_parser(pytestconfig: pytest.Config) -> None:
    lines = [line for action in ACTIONS for line in zsh_lines(action)]
    head, foot = "_arguments -s -S \\\n", "  '*:source"
    check("_transfer_py", head, foot, lines, update=pytestconfig.getoption("--update-golden"))


def offered(home: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of the words, broken as readline breaks them."""
    ask = 'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _transfer_py; printf "%s\\n" "${COMPREPLY[@]}"'
    script = f". {COMPLETION}/transfer.py.bash; {ask}"
    command = ["bash", "-c", script, "bash", "transfer.py", *words]
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=home)
    assert found.stderr == ""
    return found.stdout.split()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(
        "# mine\ndb1.example.org,198.18.0.1 ssh-ed25519 AAAA\n[db2.example.org]:2222 ssh-rsa AAAA\n"
        "@cert-authority *.example.org ssh-rsa AAAA\n|1|hash|ed= ssh-rsa AAAA\n$(touch gone) ssh-rsa AAAA\n"
    )
    (tmp_path / "nightly.yaml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--checksum",), ["--checksum", "--checksum-algorithm"]),
        (("--no-c",), ["--no-compress", "--no-checksum", "--no-create-target"]),
        (("--type", "x"), ["xtrabackup"]),
        (("--type", "=", "d"), ["decompress"]),
        (("--firewall", "="), ["auto", "iptables", "nftables", "none"]),
        (("--job", "nig"), ["nightly.yaml"]),
        (("db",), ["db1.example.org:", "db2.example.org:"]),
        (("db1:/srv", "db2"), ["db2.example.org:"]),
        (("db1", ":"), []),
    ],
)
def test_bash_offers(home: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert offered(home, *words) == expected
    assert not (home / "gone").exists()


def test_zsh_understands_its_file() -> None:
    subprocess.run(["zsh", "-n", COMPLETION / "_transfer_py"], check=True)

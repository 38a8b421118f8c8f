"""The configuration file and the shell completions follow the table of options, and bash uses its completion."""

import subprocess
from pathlib import Path

import pytest
from option_files import ROOT, written_files

COMPLETION = ROOT / "docs/completion"


@pytest.mark.parametrize(("path", "text"), [pytest.param(*file, id=file[0].name) for file in written_files()])
def test_a_file_that_is_generated_from_the_options_is_up_to_date(
    pytestconfig: pytest.Config, path: Path, text: str
) -> None:
    if pytestconfig.getoption("--update-golden"):
        path.write_text(text)
    assert path.read_text() == text, "write it with: pytest --update-golden tests/unit/cli/test_option_files.py"


def offered(home: Path, *words: str) -> list[str]:
    """Return the words that bash offers for the last word; readline splits the words."""
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
        (("--firewall", "="), ["auto", "iptables", "nftables", "firewalld", "none"]),
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

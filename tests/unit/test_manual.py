"""The manual builds without a warning, with Debian's Sphinx and a newer Sphinx, and agrees with the parser."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from transferpy import __version__
from transferpy.cli.arguments import EXAMPLES, EXIT_STATUSES, argument_parser
from transferpy.model.options import OPTIONS, TransferOptions
from transferpy.transfer import CONFIG_FILE

ROOT = Path(__file__).parents[2]
ACTIONS = [action for action in argument_parser(CONFIG_FILE)._actions if action.option_strings]


def build(directory: Path, builder: str, python: str) -> Path:
    """Build the manual and return its directory; a warning is an error."""
    sphinx = [python, "-m", "sphinx", "-q", "-W", "-d", directory / "doctrees"]
    command = list(map(str, [*sphinx, "-b", builder, "docs", directory / builder]))
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (built.returncode, built.stderr) == (0, "")
    return directory / builder


@pytest.fixture(scope="module", params=[sys.executable, "/usr/bin/python3"], ids=["Sphinx-of-PyPI", "Sphinx-of-Debian"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that contains html and man."""
    directory = tmp_path_factory.mktemp("manual")
    for builder in ("html", "man"):
        build(directory, builder, request.param)
    return directory


def page(built: Path) -> str:
    """Return the manual page as ``man`` formats it, with each paragraph on one line."""
    formatted = subprocess.run(
        ["man", "--warnings", "--local-file", str(built / "man/transfer.py.1")],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "20000", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert formatted.stderr == ""
    return re.sub(".\b", "", formatted.stdout)


def part(text: str, title: str) -> str:
    found = re.search(rf"^{title}\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_the_manual_page_has_the_usual_sections(built: Path) -> None:
    sections = re.findall("^[A-Z][A-Z ]+$", page(built), re.MULTILINE)
    first = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "FILES"]
    assert [title for title in sections if title in first] == first
    assert {"EXAMPLES", "SEE ALSO"} <= set(sections)


def test_the_manual_page_and_the_reference_show_the_help_of_every_option(built: Path) -> None:
    man, web = part(page(built), "OPTIONS"), text_of(built / "html/command.html")
    assert ACTIONS
    for action in ACTIONS:
        value = "{" + ",".join(action.choices) + "}" if action.choices else action.metavar
        words = ", ".join(word if action.nargs == 0 else f"{word} {value}" for word in action.option_strings)
        assert action.help
        assert re.search(rf"^ *{re.escape(words)}\n *{re.escape(action.help)}$", man, re.MULTILINE), words
        assert f"{words}¶ {action.help}" in web


def text_of(path: Path) -> str:
    """Return the visible text of an HTML page, with single spaces."""
    text = re.sub(r"<[^>]+>", "", path.read_text()).replace("\N{NO-BREAK SPACE}", " ")
    return " ".join(html.unescape(text).split())


@pytest.mark.parametrize("name", OPTIONS)
def test_the_help_of_an_option_has_its_default(name: str) -> None:
    (action,) = (action for action in ACTIONS if action.dest == name)
    default = getattr(TransferOptions, name)
    shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)
    assert (f"(default: {shown})" in (action.help or "")) == (shown != "")


def test_the_page_has_usage_examples_and_exit_statuses_of_the_program(built: Path) -> None:
    text = page(built)
    usage = argument_parser(CONFIG_FILE).format_usage().removeprefix("usage: ").split("\n")
    assert [line.strip() for line in part(text, "SYNOPSIS").split("\n")] == [*map(str.strip, usage), ""]
    for command in EXAMPLES.values():
        assert f" {command}\n" in part(text, "EXAMPLES")
    statuses = re.findall(r"^ {7}(\d[\d, ]*?)\n? +([^\d\s].*)$", part(text, "EXIT STATUS"), re.MULTILINE)
    assert dict(statuses) == EXIT_STATUSES


def test_the_manual_shows_the_version_of_the_program(built: Path) -> None:
    assert page(built).rstrip().splitlines()[-1].startswith(__version__)
    assert f"transferpy {__version__} documentation" in text_of(built / "html/index.html")


def test_every_page_can_be_reached_from_the_first(built: Path) -> None:
    pages = {path.relative_to(built / "html") for path in (built / "html").rglob("*.html")} - {
        Path("genindex.html"),
        Path("search.html"),
        Path("index.html"),
    }
    linked = set(re.findall(r'href="([\w/-]+\.html)', (built / "html/index.html").read_text()))
    assert pages
    assert {str(path) for path in pages} <= linked


def test_every_link_within_the_manual_has_a_target_and_nothing_is_loaded_from_other_sites(built: Path) -> None:
    pages = sorted((built / "html").rglob("*.html"))
    for path in pages:
        for tag, link in re.findall(r"""<(\w+)[^>]*? (?:src|href|data)=["']([^"']*)""", path.read_text()):
            if re.match(r"(?:\w+:)?//", link):
                assert tag == "a", f"{path.name} loads {link}"
                continue
            name, _, anchor = unquote(html.unescape(link)).partition("#")
            there = path.parent / name.partition("?")[0] if name else path
            assert there.is_file(), f"{path.name} links to {link}"
            assert not anchor or f'id="{anchor}"' in there.read_text(), f"{path.name} links to {link}"
    for path in [*(built / "html").rglob("*.css"), *(built / "html").rglob("*.svg")]:
        loaded = re.findall(r"""(?:url\(|@import |<(?:image|use|script)\b[^>]*href=)["']?([^"')]*)""", path.read_text())
        assert [link for link in loaded if "//" in link] == [], path.name


def test_the_architecture_lists_every_file_of_the_package_with_its_description(built: Path) -> None:
    text = text_of(built / "html/architecture.html")
    package = ROOT / "transferpy"
    files = [path.relative_to(package) for path in package.rglob("*") if path.suffix in {".py", ".sh", ".pl"}]
    names = [str(path.parent if path.name == "__init__.py" else path) for path in files if str(path) != "__init__.py"]
    assert len(names) > 50
    assert [name for name in names if f" {name}: " not in text] == []
    assert "Exceptions.py: Errors of transferpy: one class and one exit status for each kind of failure." in text


@pytest.mark.parametrize("name", ["data", "session"])
def test_a_picture_is_in_the_manual_and_has_a_text_alternative(built: Path, name: str) -> None:
    (tag,) = re.findall(rf'<img [^>]*src="_images/{name}\.svg"[^>]*>', (built / "html/architecture.html").read_text())
    described = re.search(r'alt="([^"]+)"', tag)
    assert described
    assert len(described[1].split()) > 20

"""Locations: a path on a host, and its text on the command line."""

import ipaddress
import re
from dataclasses import dataclass

from transferpy.Exceptions import UsageError

# A host is part of command lines and messages. So it may contain letters, digits, dot, dash, underscore and the special
# characters of cumin queries and ClusterShell node sets, but no blank, quote, slash or other character that is special
# in a shell.
_QUOTED = re.compile(r"([\"'])([^\"'\x00-\x1f\x7f]+)\1")
_NO_HOST_CHARACTER = re.compile(r"[^A-Za-z0-9._\-\[\],:{}!&^*~]")


@dataclass(frozen=True, kw_only=True)
class Location:
    """A path on a host.

    Attributes:
        host: a host name or query for cumin, or an IPv6 address (brackets around it are removed). A query that contains
            blanks or colons is in quotes, which are kept.
        path: any characters except NUL, with surrogate escapes for bytes that are not UTF-8. A slash at its end is
            kept, because it means that a symbolic link is followed.

    Raises:
        UsageError: the host or the path is not valid.
    """

    host: str
    path: str

    def __post_init__(self) -> None:
        _check_host(self.host)
        _check_path(self.path)
        if self.host.startswith("[") and _is_ipv6(self.host[1:-1]):
            object.__setattr__(self, "host", self.host[1:-1])

    def __str__(self) -> str:
        return f"[{self.host}]:{self.path}" if _is_ipv6(self.host) else f"{self.host}:{self.path}"


def split_word(word: str) -> Location:
    """Return the location that HOST:PATH denotes.

    The first colon outside leading brackets or quotes separates host and path. Spaces and tabs around both are removed,
    but no other white space: a path may end with a newline.

    Raises:
        UsageError: the word has no such colon, or its host or its path is not valid.
    """
    stripped = word.strip(" \t")
    quoted = _QUOTED.match(stripped)
    brackets = quoted.end() if quoted else stripped.find("]") + 1 if stripped.startswith("[") else 0
    colon = stripped.find(":", brackets)
    if colon < 0:
        hint = f"; for a path on this host write localhost:{stripped}" if stripped.startswith("/") else ""
        raise UsageError(f"{word!r} is not HOST:PATH: there is no colon between host and path{hint}")
    if _is_ipv6(stripped.partition(":/")[0]):
        raise UsageError(f"{word!r} is not HOST:PATH: write an IPv6 address in brackets, as in [2001:db8::1]:/srv")
    try:
        return Location(host=stripped[:colon].strip(" \t"), path=stripped[colon + 1 :].strip(" \t"))
    except UsageError as error:
        raise UsageError(f"{word!r} is not HOST:PATH: {error}") from error


def _check_host(host: str) -> None:
    if not isinstance(host, str) or not host:
        raise UsageError(f"the host is empty or not text: {host!r}")
    if _QUOTED.fullmatch(host):
        return  # a query: only the hosts that it selects are used
    if host.startswith("-"):
        raise UsageError(f"the host {host!r} starts with a dash")
    if refused := _NO_HOST_CHARACTER.search(host):
        raise UsageError(f"the host {host!r} contains {refused[0]!r}, which is not valid in a host name")
    if host.count("[") != host.count("]"):
        raise UsageError(f"the host {host!r} has an unmatched bracket")


def _check_path(path: str) -> None:
    if not isinstance(path, str) or not path:
        raise UsageError(f"the path is empty or not text: {path!r}")
    if "\0" in path:
        raise UsageError(f"the path {path!r} contains a NUL character")
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {path!r} contains a lone surrogate, which has no encoding") from error


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True

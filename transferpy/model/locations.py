"""Locations: a path on a host, and the text that stands for one on the command line."""

import ipaddress
import re
from dataclasses import dataclass

from transferpy.Exceptions import UsageError

# Letters, digits, dot, dash, underscore, and what queries of cumin and node sets of ClusterShell are written with. A
# host goes into command lines and messages: no blank, quote, slash or other character of a shell is let in.
_QUOTED = re.compile(r"([\"'])([^\"'\x00-\x1f\x7f]+)\1")
_NO_HOST_CHARACTER = re.compile(r"[^A-Za-z0-9._\-\[\],:{}!&^*~]")


@dataclass(frozen=True, kw_only=True)
class Location:
    """A path on a host; a UsageError says what is wrong with either.

    Attributes:
        host: what cumin calls the host, or an IPv6 literal (brackets around it are dropped). A query of cumin with
            blanks, colons and the like stands in quotes, which stay.
        path: any characters but NUL, bytes that are no UTF-8 as surrogate escapes; a slash at its end stays, because
            it means that a symbolic link is followed.
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
    """Return the location that a HOST:PATH of the command line means; UsageError if it means none.

    The first colon outside leading brackets or quotes separates the two. Spaces and tabs around host and path are
    dropped, but no other white space: a path may end with a newline.
    """
    stripped = word.strip(" \t")
    quoted = _QUOTED.match(stripped)
    brackets = quoted.end() if quoted else stripped.find("]") + 1 if stripped.startswith("[") else 0
    colon = stripped.find(":", brackets)
    if colon < 0:
        own = f"; for this host it would be localhost:{stripped}" if stripped.startswith("/") else ""
        raise UsageError(f"{word!r} is no HOST:PATH: it has no colon between a host and a path{own}")
    if _is_ipv6(stripped.partition(":/")[0]):
        raise UsageError(f"{word!r} is no HOST:PATH: an IPv6 address stands in brackets, as in [2001:db8::1]:/srv")
    try:
        return Location(host=stripped[:colon].strip(" \t"), path=stripped[colon + 1 :].strip(" \t"))
    except UsageError as error:
        raise UsageError(f"{word!r} is no HOST:PATH: {error}") from error


def _check_host(host: str) -> None:
    if not isinstance(host, str) or not host:
        raise UsageError(f"the host is empty or no text: {host!r}")
    if _QUOTED.fullmatch(host):
        return  # a query, of which only what it finds goes anywhere
    if host.startswith("-"):
        raise UsageError(f"the host {host!r} starts with a dash")
    if refused := _NO_HOST_CHARACTER.search(host):
        raise UsageError(f"the host {host!r} holds {refused[0]!r}, which no host name has")
    if host.count("[") != host.count("]"):
        raise UsageError(f"the host {host!r} has a bracket without its other half")


def _check_path(path: str) -> None:
    if not isinstance(path, str) or not path:
        raise UsageError(f"the path is empty or no text: {path!r}")
    if "\0" in path:
        raise UsageError(f"the path {path!r} holds a NUL character, which no path has")
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {path!r} holds a lone surrogate, which stands for no byte") from error


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True

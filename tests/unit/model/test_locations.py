"""HOST:PATH: valid words, and the message for each invalid one."""

import ipaddress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location, split_word

HOST_CHARACTERS = "abcXYZ019._-[],{}!&^*~"


def refusal(word: str) -> str:
    with pytest.raises(UsageError) as refused:
        split_word(word)
    return str(refused.value)


class TestWord:
    @pytest.mark.parametrize(
        ("word", "host", "path"),
        [
            ("db1.example.org:/srv/sqldata", "db1.example.org", "/srv/sqldata"),
            (" \tdb1 : /srv/sqldata\t ", "db1", "/srv/sqldata"),
            ("db1:/srv/a:b:c", "db1", "/srv/a:b:c"),
            ("db1:/srv/link/", "db1", "/srv/link/"),
            ("db1:/srv/two words\n", "db1", "/srv/two words\n"),
            ("db1:/srv/\x1b[31m\r\\'\"$`", "db1", "/srv/\x1b[31m\r\\'\"$`"),
            ("db1:/srv/caf\udce9", "db1", "/srv/caf\udce9"),
            ("db1:relative", "db1", "relative"),
            ("db1:-rf", "db1", "-rf"),
            ("[2001:db8::1]:/srv", "2001:db8::1", "/srv"),
            (" [::ffff:192.0.2.1] : /srv", "::ffff:192.0.2.1", "/srv"),
            ("192.0.2.1:/srv", "192.0.2.1", "/srv"),
            ("db[1-2,4].example.org:/srv", "db[1-2,4].example.org", "/srv"),
            ("[db1,db2]:/srv", "[db1,db2]", "/srv"),
            ("[A:db]x:/srv", "[A:db]x", "/srv"),
            ("D{db1}:/srv", "D{db1}", "/srv"),
            ("db*&!^~_:/srv", "db*&!^~_", "/srv"),
        ],
    )
    def test_a_word_is_split_at_its_first_colon(self, word: str, host: str, path: str) -> None:
        assert split_word(word) == Location(host=host, path=path)

    @pytest.mark.parametrize(
        ("word", "reason"),
        [
            ("", "there is no colon between host and path"),
            (
                "/srv/sqldata",
                "there is no colon between host and path; for a path on this host write localhost:/srv/sqldata",
            ),
            ("[2001:db8::1]", "there is no colon between host and path"),
            (":/srv", "the host is empty or not text: ''"),
            (" \t:/srv", "the host is empty or not text: ''"),
            ("::1:/srv", "write an IPv6 address in brackets, as in [2001:db8::1]:/srv"),
            ("2001:db8::1:/srv", "write an IPv6 address in brackets, as in [2001:db8::1]:/srv"),
            ("db1:", "the path is empty or not text: ''"),
            ("db1: \t", "the path is empty or not text: ''"),
            ("-oProxyCommand=x:/srv", "the host '-oProxyCommand=x' starts with a dash"),
            ("db 1:/srv", "the host 'db 1' contains ' ', which is not valid in a host name"),
            ("db1\n:/srv", "the host 'db1\\n' contains '\\n', which is not valid in a host name"),
            ("\x1b[2Jdb1:/srv", "the host '\\x1b[2Jdb1' contains '\\x1b', which is not valid in a host name"),
            ("d\u0431:/srv", "the host 'dб' contains 'б', which is not valid in a host name"),  # noqa: RUF001  # it looks like one
            ("db\udc80:/srv", "the host 'db\\udc80' contains '\\udc80', which is not valid in a host name"),
            ("\u00a0db1:/srv", "the host '\\xa0db1' contains '\\xa0', which is not valid in a host name"),
            ("[fe80::1%eth0]:/srv", "the host '[fe80::1%eth0]' contains '%', which is not valid in a host name"),
            ("[:/srv", "the host '[' has an unmatched bracket"),
            ("db[1:/srv", "the host 'db[1' has an unmatched bracket"),
            ("db1:/srv/\0", "the path '/srv/\\x00' contains a NUL character"),
            ("db1:/srv/\ud800", "the path '/srv/\\ud800' contains a lone surrogate, which has no encoding"),
        ],
    )
    def test_nonsense_is_refused_with_its_reason(self, word: str, reason: str) -> None:
        assert refusal(word) == f"{word!r} is not HOST:PATH: {reason}"

    @pytest.mark.parametrize("character", list("/%@'\"$`;|<>\\()=+?#\x00\x07\x7f\x85\u2028"))
    def test_a_host_has_no_character_that_is_special_in_a_shell_or_a_terminal(self, character: str) -> None:
        assert refusal(f"db{character}1:/srv").endswith(f" contains {character!r}, which is not valid in a host name")

    @given(st.text())
    def test_any_text_is_split_or_refused(self, word: str) -> None:
        try:
            location = split_word(word)
        except UsageError:
            return
        assert location.host
        assert location.path

    @given(host=st.text(HOST_CHARACTERS, min_size=1), path=st.text(min_size=1))
    @example(host="0", path=":")
    @example(host="a", path=":1:/b")
    def test_a_location_is_shown_as_it_was_given(self, host: str, path: str) -> None:
        try:
            location = Location(host=host, path=path)
        except UsageError:
            return
        if path.strip(" \t") != path:
            return
        try:
            assert split_word(str(location)) == location
        except UsageError:
            # The text is also an address without a path, so it is refused as ambiguous.
            ipaddress.IPv6Address(str(location).partition(":/")[0])

    @given(st.ip_addresses(v=6).map(str), st.sampled_from(["/srv", ":", "/a:b"]))
    def test_an_ipv6_literal_is_shown_in_brackets_and_read_back(self, host: str, path: str) -> None:
        location = Location(host=host, path=path)
        assert str(location) == f"[{host}]:{path}"
        assert split_word(str(location)) == location == Location(host=f"[{host}]", path=path)

    @pytest.mark.parametrize(("host", "path"), [(None, "/srv"), ("db1", None), (b"db1", "/srv"), ("db1", b"/srv")])
    def test_a_host_or_path_that_is_not_text_is_refused(self, host: Any, path: Any) -> None:
        with pytest.raises(UsageError, match=r"^the (host|path) is empty or not text: "):
            Location(host=host, path=path)

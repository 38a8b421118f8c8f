"""What a run can be asked to do, and what each nonsense is answered with."""

import ipaddress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location, split_word
from transferpy.model.options import FirewallChoice, TransferOptions, TransferType, options_from_mapping
from transferpy.model.request import TransferRequest

HOST_CHARACTERS = "abcXYZ019._-[],{}!&^*~"


def request(source: str = "db1:/srv/sqldata", *targets: str, **options: Any) -> TransferRequest:
    return TransferRequest(
        source=split_word(source),
        targets=tuple(map(split_word, targets or ("db2:/srv",))),
        options=TransferOptions(**options),
    )


def refusal(word: str) -> str:
    with pytest.raises(UsageError) as refused:
        split_word(word)
    return str(refused.value)


class TestOptions:
    def test_the_defaults_are_those_of_the_contract(self) -> None:
        assert TransferOptions() == TransferOptions(
            port=0,
            transfer_type=TransferType.FILE,
            compress=True,
            encrypt=True,
            checksum=True,
            parallel_checksum=False,
            stop_slave=False,
            verbose=False,
            firewall=FirewallChoice.AUTO,
            connect_timeout=60,
            idle_timeout=300,
            defaults_file="",
            prepare=False,
            owner="",
        )

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("port", -1, "port must be a whole number from 0 to 65535, not -1"),
            ("port", 65536, "port must be a whole number from 0 to 65535, not 65536"),
            ("port", "4400-4499", "port must be a whole number from 0 to 65535, not '4400-4499'"),
            ("port", "", "port must be a whole number from 0 to 65535, not ''"),
            ("port", "4_400", "port must be a whole number from 0 to 65535, not '4_400'"),
            ("port", "\u0664\u0664\u0660\u0660", "port must be a whole number from 0 to 65535, not '٤٤٠٠'"),
            ("port", "9" * 5000, "port must be a whole number from 0 to 65535, not '999"),
            ("port", True, "port must be a whole number from 0 to 65535, not True"),
            ("port", None, "port must be a whole number from 0 to 65535, not None"),
            ("port", 44.0, "port must be a whole number from 0 to 65535, not 44.0"),
            ("connect_timeout", 0, "connect_timeout must be a whole number from 1 to 86400, not 0"),
            ("idle_timeout", "1h", "idle_timeout must be a whole number from 1 to 86400, not '1h'"),
            ("transfer_type", "tar", "transfer_type must be one of file, xtrabackup, decompress, not 'tar'"),
            ("transfer_type", "FILE", "transfer_type must be one of file, xtrabackup, decompress, not 'FILE'"),
            ("transfer_type", [], "transfer_type must be one of file, xtrabackup, decompress, not []"),
            ("firewall", "ufw", "firewall must be one of auto, iptables, nftables, none, not 'ufw'"),
            ("firewall", None, "firewall must be one of auto, iptables, nftables, none, not None"),
            ("compress", "maybe", "compress must be true or false, not 'maybe'"),
            ("encrypt", 2, "encrypt must be true or false, not 2"),
            ("checksum", None, "checksum must be true or false, not None"),
            ("verbose", "", "verbose must be true or false, not ''"),
            ("prepare", "perhaps", "prepare must be true or false, not 'perhaps'"),
            ("defaults_file", "my.cnf", "defaults_file must be an absolute path, not 'my.cnf'"),
            ("defaults_file", "/root/\0", "defaults_file must be an absolute path, not '/root/\\x00'"),
            ("defaults_file", "/root/my.cnf\n", "defaults_file must be an absolute path, not '/root/my.cnf\\n'"),
            ("defaults_file", None, "defaults_file must be an absolute path, not None"),
            ("defaults_file", True, "defaults_file must be an absolute path, not True"),
            ("owner", "mysql:", "owner must be USER or USER:GROUP, not 'mysql:'"),
            ("owner", ":mysql", "owner must be USER or USER:GROUP, not ':mysql'"),
            ("owner", "a:b:c", "owner must be USER or USER:GROUP, not 'a:b:c'"),
            ("owner", "-R", "owner must be USER or USER:GROUP, not '-R'"),
            ("owner", "mysql mysql", "owner must be USER or USER:GROUP, not 'mysql mysql'"),
            ("owner", "mysql\n", "owner must be USER or USER:GROUP, not 'mysql\\n'"),
            ("owner", "$(id)", "owner must be USER or USER:GROUP, not '$(id)'"),
            ("owner", "m\u00fcller", "owner must be USER or USER:GROUP, not 'm\u00fcller'"),
            ("owner", 0, "owner must be USER or USER:GROUP, not 0"),
            ("owner", ["mysql"], "owner must be USER or USER:GROUP, not ['mysql']"),
        ],
    )
    def test_a_bad_value_is_refused_by_name_and_value(self, name: str, value: object, expected: str) -> None:
        with pytest.raises(UsageError) as refused:
            options_from_mapping({name: value})
        assert str(refused.value).startswith(expected)

    @pytest.mark.parametrize("word", ["true", "True", "yes", "on", "1", " ON ", True, 1])
    def test_a_switch_is_on_by_every_word_that_an_ini_file_knows(self, word: object) -> None:
        assert options_from_mapping({"verbose": word}).verbose is True

    @pytest.mark.parametrize("word", ["false", "No", "off", "0", False, 0])
    def test_a_switch_is_off_by_every_word_that_an_ini_file_knows(self, word: object) -> None:
        assert options_from_mapping({"encrypt": word}).encrypt is False

    def test_text_becomes_typed(self) -> None:
        options = options_from_mapping({"port": " 4444 ", "transfer_type": "decompress", "firewall": "nftables"})
        assert (options.port, options.transfer_type, options.firewall) == (
            4444,
            TransferType.DECOMPRESS,
            FirewallChoice.NFTABLES,
        )
        assert type(options.port) is int
        assert type(options.transfer_type) is TransferType

    def test_checksum_makes_parallel_checksum_ignored(self) -> None:
        assert TransferOptions(checksum=True, parallel_checksum=True).parallel_checksum is False
        assert TransferOptions(checksum=False, parallel_checksum=True).parallel_checksum is True

    @pytest.mark.parametrize("transfer_type", [TransferType.FILE, TransferType.DECOMPRESS])
    @pytest.mark.parametrize(
        ("name", "value"), [("stop_slave", True), ("prepare", True), ("defaults_file", "/root/my.cnf")]
    )
    def test_what_concerns_a_server_goes_with_xtrabackup_only(
        self, transfer_type: TransferType, name: str, value: object
    ) -> None:
        with pytest.raises(UsageError, match=f"^{name} needs the transfer type xtrabackup, not {transfer_type}$"):
            options_from_mapping({name: value, "type": transfer_type})
        assert getattr(options_from_mapping({name: value, "type": "xtrabackup"}), name) == value

    @pytest.mark.parametrize("transfer_type", TransferType)
    @pytest.mark.parametrize("owner", ["", "mysql", "mysql:mysql", "_apt:www-data", "1000:0", "dba.team:x_y"])
    def test_every_copy_can_have_an_owner(self, transfer_type: TransferType, owner: str) -> None:
        assert options_from_mapping({"owner": owner, "type": transfer_type}).owner == owner

    @pytest.mark.parametrize("path", ["", "/root/.my.cnf", "/root/it's $(touch gone) -x *", "/r/caf\u00e9"])
    def test_a_defaults_file_may_have_any_name(self, path: str) -> None:
        assert options_from_mapping({"defaults_file": path, "type": "xtrabackup"}).defaults_file == path

    @pytest.mark.parametrize("transfer_type", [TransferType.XTRABACKUP, TransferType.DECOMPRESS])
    def test_files_are_compared_for_the_type_file_only(self, transfer_type: TransferType) -> None:
        options = TransferOptions(transfer_type=transfer_type)
        assert (options.checksum, options.parallel_checksum) == (False, False)
        options = TransferOptions(transfer_type=transfer_type, checksum=False, parallel_checksum=True)
        assert (options.checksum, options.parallel_checksum) == (False, True)

    def test_a_partial_mapping_gives_defaults_for_the_rest(self) -> None:
        assert options_from_mapping({}) == TransferOptions()
        assert options_from_mapping({"compress": False}) == TransferOptions(compress=False)

    @pytest.mark.parametrize("name", ["type", "transfer_type"])
    def test_the_type_may_have_both_its_names(self, name: str) -> None:
        assert options_from_mapping({name: "xtrabackup"}).transfer_type is TransferType.XTRABACKUP

    def test_type_wins_over_the_transfer_type_of_the_configuration_file(self) -> None:
        # what programs do: the defaults by assign_default_options, then the type on top of them
        for mapping in (
            {"transfer_type": "file", "type": "xtrabackup"},
            {"type": "xtrabackup", "transfer_type": "file"},
        ):
            assert options_from_mapping(mapping).transfer_type is TransferType.XTRABACKUP

    def test_the_mapping_of_the_caller_never_changes(self) -> None:
        mapping = {"type": "file", "port": "1", "parallel_checksum": True}
        options_from_mapping(mapping)
        assert mapping == {"type": "file", "port": "1", "parallel_checksum": True}

    @pytest.mark.parametrize("name", ["Port", "no_compress", "config", "stop-slave", ""])
    def test_an_unknown_option_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(UsageError, match=f"^unknown option '{name}'; the options are transfer_type, compress, "):
            options_from_mapping({name: 1})

    def test_an_option_that_has_no_name_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"^unknown option None; "):
            options_from_mapping({None: 1})  # type: ignore[dict-item]  # what a program may do by mistake


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
            ("", "it has no colon between a host and a path"),
            (
                "/srv/sqldata",
                "it has no colon between a host and a path; for this host it would be localhost:/srv/sqldata",
            ),
            ("[2001:db8::1]", "it has no colon between a host and a path"),
            (":/srv", "the host is empty or no text: ''"),
            (" \t:/srv", "the host is empty or no text: ''"),
            ("::1:/srv", "an IPv6 address stands in brackets, as in [2001:db8::1]:/srv"),
            ("2001:db8::1:/srv", "an IPv6 address stands in brackets, as in [2001:db8::1]:/srv"),
            ("db1:", "the path is empty or no text: ''"),
            ("db1: \t", "the path is empty or no text: ''"),
            ("-oProxyCommand=x:/srv", "the host '-oProxyCommand=x' starts with a dash"),
            ("db 1:/srv", "the host 'db 1' holds ' ', which no host name has"),
            ("db1\n:/srv", "the host 'db1\\n' holds '\\n', which no host name has"),
            ("\x1b[2Jdb1:/srv", "the host '\\x1b[2Jdb1' holds '\\x1b', which no host name has"),
            ("d\u0431:/srv", "the host 'dб' holds 'б', which no host name has"),  # noqa: RUF001  # it looks like one
            ("db\udc80:/srv", "the host 'db\\udc80' holds '\\udc80', which no host name has"),
            ("\u00a0db1:/srv", "the host '\\xa0db1' holds '\\xa0', which no host name has"),
            ("[fe80::1%eth0]:/srv", "the host '[fe80::1%eth0]' holds '%', which no host name has"),
            ("[:/srv", "the host '[' has a bracket without its other half"),
            ("db[1:/srv", "the host 'db[1' has a bracket without its other half"),
            ("db1:/srv/\0", "the path '/srv/\\x00' holds a NUL character, which no path has"),
            ("db1:/srv/\ud800", "the path '/srv/\\ud800' holds a lone surrogate, which stands for no byte"),
        ],
    )
    def test_nonsense_is_refused_with_its_reason(self, word: str, reason: str) -> None:
        assert refusal(word) == f"{word!r} is no HOST:PATH: {reason}"

    @pytest.mark.parametrize("character", list("/%@'\"$`;|<>\\()=+?#\x00\x07\x7f\x85\u2028"))
    def test_no_character_that_a_shell_or_a_terminal_knows_is_let_into_a_host(self, character: str) -> None:
        assert refusal(f"db{character}1:/srv").endswith(f" holds {character!r}, which no host name has")

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
    def test_what_a_location_is_shown_as_is_what_it_is_given_as(self, host: str, path: str) -> None:
        try:
            location = Location(host=host, path=path)
        except UsageError:
            return
        if path.strip(" \t") != path:
            return
        try:
            assert split_word(str(location)) == location
        except UsageError:
            # Only where it could as well be an address without a path: nobody guesses there.
            ipaddress.IPv6Address(str(location).partition(":/")[0])

    @given(st.ip_addresses(v=6).map(str), st.sampled_from(["/srv", ":", "/a:b"]))
    def test_an_ipv6_literal_is_shown_in_brackets_and_read_back(self, host: str, path: str) -> None:
        location = Location(host=host, path=path)
        assert str(location) == f"[{host}]:{path}"
        assert split_word(str(location)) == location == Location(host=f"[{host}]", path=path)

    @pytest.mark.parametrize(("host", "path"), [(None, "/srv"), ("db1", None), (b"db1", "/srv"), ("db1", b"/srv")])
    def test_a_program_that_gives_no_text_is_told_so(self, host: Any, path: Any) -> None:
        with pytest.raises(UsageError, match=r"^the (host|path) is empty or no text: "):
            Location(host=host, path=path)


class TestRequest:
    def test_a_request_holds_what_it_was_given(self) -> None:
        made = request("db1:/srv/sqldata/", "db2:/srv", "[::1]:/srv")
        assert [str(target) for target in made.targets] == ["db2:/srv", "[::1]:/srv"]
        assert str(made.source) == "db1:/srv/sqldata/"

    @pytest.mark.parametrize("path", ["/", "//", "/srv/.", "/srv/..", ".", "..", "/srv/../", "/srv/.///"])
    def test_a_source_without_a_name_of_its_own_is_refused(self, path: str) -> None:
        with pytest.raises(UsageError) as refused:
            request(f"db1:{path}")
        assert str(refused.value) == (
            f"db1:{path}: this source path has no name of its own that the copy could get;"
            " end it with the name of a file or directory"
        )

    @pytest.mark.parametrize("path", ["/...", "/srv/..a", "/srv/ ", "/srv/a\n", "a", "/srv/../a/"])
    def test_a_source_with_a_strange_name_is_taken(self, path: str) -> None:
        assert TransferRequest(
            source=Location(host="db1", path=path),
            targets=(Location(host="db2", path="/"),),
            options=TransferOptions(),
        )

    def test_a_target_that_is_given_twice_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"^db2:/srv/: this target is given twice$"):
            request("db1:/srv/sqldata", "db2:/srv", "db3:/srv", "db2:/srv/")

    def test_a_request_without_a_target_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"^db1:/srv/a: no target to copy to$"):
            TransferRequest(source=split_word("db1:/srv/a"), targets=(), options=TransferOptions())

    @pytest.mark.parametrize("path", ["mysqld.sock", "run/mysqld.sock", "./mysqld.sock", "~/mysqld.sock"])
    def test_the_path_of_a_socket_has_to_be_absolute(self, path: str) -> None:
        with pytest.raises(UsageError) as refused:
            request(f"db1:{path}", transfer_type="xtrabackup")
        assert str(refused.value) == f"db1:{path}: the path of a socket has to be absolute"

    @pytest.mark.parametrize("transfer_type", ["xtrabackup", "decompress"])
    def test_only_a_file_or_a_tree_needs_a_name_of_its_own(self, transfer_type: str) -> None:
        assert request("db1:/srv/..", transfer_type=transfer_type).options.transfer_type == transfer_type


class TestRates:
    @pytest.mark.parametrize(
        ("text", "rate"),
        [
            *(("0", 0), ("500", 500), ("500K", 512_000), ("20m", 20 << 20), ("1.5G", 3 << 29), ("2GiB", 2 << 30)),
            *((" 7 ", 7), (4096, 4096)),
        ],
    )
    def test_a_rate_is_bytes_per_second_with_units_of_1024(self, text: str | int, rate: int) -> None:
        assert TransferOptions(bwlimit=text).bwlimit == rate  # type: ignore[arg-type]  # text stands for a number

    @pytest.mark.parametrize("text", ["", "-1", "fast", "1Q", "K", "1e3", "0.4", "9" * 40, "9999999T", True])
    def test_another_rate_is_refused(self, text: object) -> None:
        with pytest.raises(UsageError, match="bwlimit must be a number of bytes per second"):
            TransferOptions(bwlimit=text)  # type: ignore[arg-type]  # that is the point


class TestLevels:
    @pytest.mark.parametrize(("compressor", "highest"), [("zstd", 19), ("pigz", 9), ("lz4", 12)])
    def test_a_level_is_one_of_the_compressors(self, compressor: str, highest: int) -> None:
        assert TransferOptions(compressor=compressor, compress_level=highest).compress_level == highest
        if highest < 19:
            with pytest.raises(UsageError, match=f"compress_level must be at most {highest} for {compressor}"):
                TransferOptions(compressor=compressor, compress_level=highest + 1)

    def test_a_level_without_a_compressor_is_refused(self) -> None:
        with pytest.raises(UsageError, match="compress_level needs a compressor other than auto"):
            TransferOptions(compress_level=1)

"""The options of a run: valid values, and the message for each invalid one."""

import pytest

from transferpy.Exceptions import UsageError
from transferpy.model.option import COPY, Option, choice
from transferpy.model.options import TransferOptions, options_from_mapping
from transferpy.model.transfer_types import TRANSFER_TYPES


class TestOptions:
    def test_the_defaults_are_those_of_the_contract(self) -> None:
        assert TransferOptions() == TransferOptions(
            port=0,
            transfer_type="file",
            compress=True,
            encrypt=True,
            checksum=True,
            parallel_checksum=False,
            stop_slave=False,
            verbose=False,
            firewall="auto",
            connect_timeout=60,
            idle_timeout=300,
            stall_timeout=30,
            copy_timeout=604800,
            safe_timeout=300,
            max_stop_time=0,
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
            ("stall_timeout", "2", "stall_timeout must be a whole number from 3 to 86400, not '2'"),
            ("idle_timeout", "1h", "idle_timeout must be a whole number from 1 to 86400, not '1h'"),
            ("transfer_type", "tar", "transfer_type must be one of file, xtrabackup, decompress, not 'tar'"),
            ("transfer_type", "FILE", "transfer_type must be one of file, xtrabackup, decompress, not 'FILE'"),
            ("transfer_type", [], "transfer_type must be one of file, xtrabackup, decompress, not []"),
            ("firewall", "ufw", "firewall must be one of auto, iptables, nftables, firewalld, none, not 'ufw'"),
            ("firewall", None, "firewall must be one of auto, iptables, nftables, firewalld, none, not None"),
            ("compress", "maybe", "compress must be true or false, not 'maybe'"),
            ("encrypt", 2, "encrypt must be true or false, not 2"),
            ("checksum", None, "checksum must be true or false, not None"),
            ("verbose", "", "verbose must be true or false, not ''"),
            ("prepare", "perhaps", "prepare must be true or false, not 'perhaps'"),
            ("defaults_file", "my.cnf", "defaults_file must be an absolute path, not 'my.cnf'"),
            ("defaults_file", "/root/\0", "defaults_file must be an absolute path, not '/root/\\x00'"),
            ("defaults_file", "/root/my.cnf\n", "defaults_file must be an absolute path, not '/root/my.cnf\\n'"),
            ("max_stop_time", 4, "max_stop_time must be 0 or a whole number from 5 to 86400, not 4"),
            ("max_stop_time", "x", "max_stop_time must be 0 or a whole number from 5 to 86400, not 'x'"),
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
    def test_a_switch_accepts_every_word_for_true_in_ini_files(self, word: object) -> None:
        assert options_from_mapping({"verbose": word}).verbose is True

    @pytest.mark.parametrize("word", ["false", "No", "off", "0", False, 0])
    def test_a_switch_accepts_every_word_for_false_in_ini_files(self, word: object) -> None:
        assert options_from_mapping({"encrypt": word}).encrypt is False

    def test_a_row_that_is_added_to_a_table_is_a_valid_word_at_once(self) -> None:
        table = {"zstd": 1}
        row = Option(name="x", default="", values=choice("auto", table=table), help_text="", group=COPY, only_for="")
        with pytest.raises(UsageError, match=r"^x must be one of auto, zstd, not 'lz4'$"):
            row.parse("lz4")
        table["lz4"] = 2
        assert row.parse("lz4") == "lz4"

    def test_text_becomes_typed(self) -> None:
        options = options_from_mapping({"port": " 4444 ", "transfer_type": "decompress", "firewall": "nftables"})
        assert (options.port, options.transfer_type, options.firewall) == (
            4444,
            "decompress",
            "nftables",
        )
        assert type(options.port) is int
        assert type(options.transfer_type) is str

    @pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("5", 5)])
    def test_a_stop_has_no_limit_or_one_that_leaves_time_for_the_start(self, text: str, seconds: int) -> None:
        options = options_from_mapping({"max_stop_time": text, "type": "xtrabackup"})
        assert options.max_stop_time == seconds

    def test_checksum_makes_parallel_checksum_ignored(self) -> None:
        assert TransferOptions(checksum=True, parallel_checksum=True).parallel_checksum is False
        assert TransferOptions(checksum=False, parallel_checksum=True).parallel_checksum is True

    @pytest.mark.parametrize("transfer_type", ["file", "decompress"])
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("stop_slave", True),
            ("safe_timeout", 7),
            ("max_stop_time", 8),
            ("prepare", True),
            ("defaults_file", "/root/my.cnf"),
        ],
    )
    def test_a_backup_option_requires_the_type_xtrabackup(self, transfer_type: str, name: str, value: object) -> None:
        with pytest.raises(UsageError, match=f"^{name} needs the transfer type xtrabackup, not {transfer_type}$"):
            options_from_mapping({name: value, "type": transfer_type})
        assert getattr(options_from_mapping({name: value, "type": "xtrabackup"}), name) == value

    @pytest.mark.parametrize("transfer_type", TRANSFER_TYPES)
    @pytest.mark.parametrize("owner", ["", "mysql", "mysql:mysql", "_apt:www-data", "1000:0", "dba.team:x_y"])
    def test_every_copy_can_have_an_owner(self, transfer_type: str, owner: str) -> None:
        assert options_from_mapping({"owner": owner, "type": transfer_type}).owner == owner

    @pytest.mark.parametrize("path", ["", "/root/.my.cnf", "/root/it's $(touch gone) -x *", "/r/caf\u00e9"])
    def test_a_defaults_file_may_have_any_name(self, path: str) -> None:
        assert options_from_mapping({"defaults_file": path, "type": "xtrabackup"}).defaults_file == path

    @pytest.mark.parametrize(
        ("transfer_type", "compares"), [("file", True), ("xtrabackup", True), ("decompress", False)]
    )
    def test_files_are_compared_unless_they_come_from_a_tarball(self, transfer_type: str, *, compares: bool) -> None:
        options = TransferOptions(transfer_type=transfer_type)
        assert (options.checksum, options.parallel_checksum) == (compares, False)
        options = TransferOptions(transfer_type=transfer_type, checksum=False, parallel_checksum=True)
        assert (options.checksum, options.parallel_checksum) == (False, True)

    def test_a_partial_mapping_gives_defaults_for_the_rest(self) -> None:
        assert options_from_mapping({}) == TransferOptions()
        assert options_from_mapping({"compress": False}) == TransferOptions(compress=False)

    @pytest.mark.parametrize("name", ["type", "transfer_type"])
    def test_the_type_may_have_both_its_names(self, name: str) -> None:
        assert options_from_mapping({name: "xtrabackup"}).transfer_type == "xtrabackup"

    def test_type_wins_over_the_transfer_type_of_the_configuration_file(self) -> None:
        # as programs do: assign_default_options sets transfer_type, then they set type
        for mapping in (
            {"transfer_type": "file", "type": "xtrabackup"},
            {"type": "xtrabackup", "transfer_type": "file"},
        ):
            assert options_from_mapping(mapping).transfer_type == "xtrabackup"

    def test_the_mapping_of_the_caller_never_changes(self) -> None:
        mapping = {"type": "file", "port": "1", "parallel_checksum": True}
        options_from_mapping(mapping)
        assert mapping == {"type": "file", "port": "1", "parallel_checksum": True}

    @pytest.mark.parametrize("name", ["Port", "no_compress", "config", "stop-slave", ""])
    def test_an_unknown_option_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(UsageError, match=f"^unknown option '{name}'; the options are transfer_type, compress, "):
            options_from_mapping({name: 1})

    def test_an_option_name_that_is_not_text_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"^unknown option None; "):
            options_from_mapping({None: 1})  # type: ignore[dict-item]  # a mistake of a program


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
            TransferOptions(bwlimit=text)  # type: ignore[arg-type]  # the test passes other types


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

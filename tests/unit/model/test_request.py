"""The request: the checks of source and targets together."""

from typing import Any

import pytest

from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location, split_word
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest


def request(source: str = "db1:/srv/sqldata", *targets: str, **options: Any) -> TransferRequest:
    return TransferRequest(
        source=split_word(source),
        targets=tuple(map(split_word, targets or ("db2:/srv",))),
        options=TransferOptions(**options),
    )


class TestRequest:
    def test_a_request_has_the_values_of_its_arguments(self) -> None:
        made = request("db1:/srv/sqldata/", "db2:/srv", "[::1]:/srv")
        assert [str(target) for target in made.targets] == ["db2:/srv", "[::1]:/srv"]
        assert str(made.source) == "db1:/srv/sqldata/"

    @pytest.mark.parametrize("path", ["/", "//", "/srv/.", "/srv/..", ".", "..", "/srv/../", "/srv/.///"])
    def test_a_source_without_a_name_of_its_own_is_refused(self, path: str) -> None:
        with pytest.raises(UsageError) as refused:
            request(f"db1:{path}")
        assert str(refused.value) == (
            f"db1:{path}: this source path has no name that the copy could get;"
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
        assert str(refused.value) == f"db1:{path}: the path of a socket must be absolute"

    @pytest.mark.parametrize("transfer_type", ["xtrabackup", "decompress"])
    def test_only_a_file_or_a_tree_needs_a_name_of_its_own(self, transfer_type: str) -> None:
        assert request("db1:/srv/..", transfer_type=transfer_type).options.transfer_type == transfer_type

    @pytest.mark.parametrize("path", ["/srv/..", "/srv/../x", ".."])
    def test_with_create_target_a_target_path_must_not_lead_upwards(self, path: str) -> None:
        with pytest.raises(UsageError, match=r"with create_target, a target path must not contain \.\.$"):
            request("db1:/srv/sqldata", f"db2:{path}", create_target=True)
        assert request("db1:/srv/sqldata", f"db2:{path}")

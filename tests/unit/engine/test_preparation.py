"""The preparation of a run."""

import socket

import pytest

from transferpy.engine.preparation import _addresses


def test_the_addresses_of_a_host_are_listed_once_and_localhost_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(host: str, *_: object, **__: object) -> list[object]:
        if host != "db2":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(2, 1, 6, "", ("198.18.0.2", 0)), (10, 1, 6, "", ("2001:db8::2", 0, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    assert _addresses("db2") == ("198.18.0.2", "2001:db8::2")
    assert _addresses("db3") == ()
    assert _addresses("localhost") == ()

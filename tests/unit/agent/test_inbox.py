"""The inbox: no item is lost, and the time of a suspended process is known."""

from types import SimpleNamespace

import pytest

from transferpy.agent import inbox
from transferpy.agent.inbox import Inbox


def test_an_item_stays_until_it_is_removed() -> None:
    items: Inbox[str] = Inbox()
    items.put("a")
    items.put("b")
    assert items.wait(5) == 0.0
    assert (items.first, bool(items)) == ("a", True)
    items.remove_first()
    items.remove_first()
    assert not items


@pytest.mark.parametrize(("took", "suspended"), [(0.01, 0.0), (0.015, 0.0), (7.01, 7.0)])
def test_a_wait_that_took_far_too_long_was_suspended(
    took: float, suspended: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 100.0 + took])
    monkeypatch.setattr(inbox, "time", SimpleNamespace(monotonic=lambda: next(times)))
    assert Inbox[str]().wait(0.01) == pytest.approx(suspended)

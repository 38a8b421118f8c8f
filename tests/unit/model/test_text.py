"""Sizes and durations as text."""

import pytest

from transferpy.model.text import duration


@pytest.mark.parametrize(("seconds", "text"), [(0, "0.0 s"), (99.94, "99.9 s"), (100, "0:01:40"), (90061, "25:01:01")])
def test_a_duration_as_text(seconds: float, text: str) -> None:
    assert duration(seconds) == text

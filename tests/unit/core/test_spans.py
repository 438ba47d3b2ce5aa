"""Spans of time in people's words."""

from __future__ import annotations

import pytest

from knowngood.core.errors import UsageError
from knowngood.core.instants import SECOND, parse_when
from knowngood.core.sizes import parse_span

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10 secs", 10),
        ("1.5h", 1.5 * HOUR),
        ("1h30m", 1.5 * HOUR),
        ("1 hour 30 minutes", 1.5 * HOUR),
        ("5min", 300),
        ("2 Days", 2 * DAY),
        ("1w", 7 * DAY),
        ("3 months", 90 * DAY),
        ("1mo", 30 * DAY),
        ("10 years", 3650 * DAY),
    ],
)
def test_spans(text: str, seconds: float) -> None:
    """Letters or words, one after the other; before a moment, or ago."""
    assert parse_span(text) == seconds
    now = 2_000_000_000 * SECOND
    assert parse_when(f"-{text}", now=now) == now - seconds * SECOND
    if "day" not in text.lower():  # a number of days ago is a day, from midnight
        assert parse_when(f"{text} ago", now=now) == now - seconds * SECOND


@pytest.mark.parametrize("text", ["", "hours", "2", "2 hays", "2 hourss", "1 m x", "-1h", "1e3s"])
def test_no_spans(text: str) -> None:
    """They are told so, with examples."""
    with pytest.raises(UsageError) as caught:
        parse_span(text)
    assert "90s" in caught.value.hint

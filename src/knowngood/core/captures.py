"""The levels at which a component can be captured."""

from __future__ import annotations

from collections.abc import Iterable

CAPTURES = ("scan", "watch", "clone", "journal")
"""Capture levels, weakest first."""


def weakest_capture(levels: Iterable[str]) -> str:
    """The weakest of several capture levels."""
    return min(levels, key=CAPTURES.index, default=CAPTURES[0])

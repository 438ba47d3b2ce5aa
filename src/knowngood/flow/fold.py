"""Fold: many small segments of logs become few, so that a day of ticks is not a day of objects.

It can wait: while somebody else keeps the vault in order, or there is no room for a moment, nothing happens.
"""

from __future__ import annotations

from knowngood.core.errors import Busy, Fenced, NoSpace
from knowngood.flow.parts import Parts
from knowngood.vault.fold import Folded, fold


def fold_logs(parts: Parts, timeline: bytes | None = None, most: int | None = None) -> Folded:
    """Fold the logs of the vault, or that of one timeline, and take away all, or so many, old commits.

    Raises what the store raises, and Damaged.
    """
    try:
        return fold(parts.vault, parts.catalog, parts.progress, timeline, most)
    except (Busy, Fenced, NoSpace):
        return Folded()

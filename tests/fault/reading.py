"""What a damaged vault still gives: a point or a log is whole, or it fails; it is never something else."""

from __future__ import annotations

from knowngood.core.errors import KnowngoodError
from knowngood.core.log import LogRecord
from knowngood.core.model import Position
from knowngood.testing.logs import TIMELINE, SmallLog
from knowngood.testing.vaults import SmallVault
from knowngood.vault.log_reader import START


def recovers(small: SmallVault, point: bytes, files: dict[bytes, bytes]) -> bool:
    """Whether a point recovers to these files."""
    try:
        found = small.recover(small.catalog.find_point(point.hex()))
    except KnowngoodError:
        return False
    assert found == files, "a point recovered to something else"
    return True


def log_reads(small: SmallVault, truth: list[LogRecord], after: Position = START) -> bool:
    """Whether the log can be read from there on, as far as these records; what can be is never anything else."""
    found: list[LogRecord] = []
    try:
        for record in SmallLog(small).reader().records(TIMELINE, after):
            found.append(record)  # noqa: PERF402 - what came before an error counts
    except KnowngoodError:
        assert found == truth[: len(found)], "a log read as something else"
        return False
    assert found == truth[: len(found)], "a log read as something else"
    return found == truth

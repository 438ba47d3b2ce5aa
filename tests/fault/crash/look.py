"""Opens a vault as it was left, and tells what is there: points and logs byte for byte, and what a check says."""

from __future__ import annotations

from pathlib import Path

from knowngood.core.errors import KnowngoodError
from knowngood.core.log import NO_FRAME, LogRecord
from knowngood.core.model import Point, Position
from knowngood.core.progress import Progress
from knowngood.stores.disk import DiskStore
from knowngood.testing.logs import TIMELINE, SmallLog
from knowngood.testing.vaults import SmallVault
from knowngood.vault.rebuild import rebuild_index
from tests.fault.crash.contents import files_of, number_of
from tests.fault.crash.ledger import Found, Place


class Noted(DiskStore):
    """A store that keeps in mind which of its files are not what they were."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.touched: set[str] = set()

    def put(self, key: str, parts: object) -> None:
        """Create an object."""
        self.touched.add(key)
        super().put(key, parts)  # type: ignore[arg-type]

    def delete(self, *keys: str) -> None:
        """Remove some."""
        self.touched.update(keys)
        super().delete(*keys)


def look(small: SmallVault, found: Found, *, logs: bool) -> None:
    """Everything that can be seen, and a check of every byte."""
    small.follow()
    done = small.check()
    found.findings = [(each.what, f"{each.object}: {each.reason}") for each in done.findings]
    found.wrong += [f"a commit cannot be read: {key}" for key in small.catalog.damaged()]
    found.points = points_of(small)
    if logs:
        found.log = read_log(small, found)


def points_of(small: SmallVault) -> dict[int, tuple[Place, bool]]:
    """Every point, and whether it recovers to what it has to hold."""
    found: dict[int, tuple[Place, bool]] = {}
    with small.vault.session("look", reading=True) as session:
        for place, hidden in ((Place.SEEN, False), (Place.HIDDEN, True)):
            for point in small.catalog.points(expired=hidden):
                found[number_of(point)] = place, _is_whole(small, point, session)
    return found


def _is_whole(small: SmallVault, point: Point, session: object) -> bool:
    try:
        return small.recover(point, session) == files_of(number_of(point))  # type: ignore[arg-type]
    except KnowngoodError:
        return False


def read_log(small: SmallVault, found: Found | None = None) -> tuple[int, list[LogRecord]] | None:
    """The log from the first record that is not hidden; or where the newest chain begins, if that is later."""
    there = list(small.catalog.log.covering(TIMELINE, 0))
    if not there:
        return None
    first = next((each for each in reversed(there) if each.previous == NO_FRAME), there[0])
    try:
        return first.first, list(SmallLog(small).reader().records(TIMELINE, Position(first.first, first.previous)))
    except KnowngoodError as wrong:
        if found is None:
            raise
        found.wrong.append(f"the log cannot be read: {wrong}")
        return first.first, []


def go_on(small: SmallVault, found: Found) -> list[str]:
    """A new point on top of what is there, and collection to the end; then all over again with a new index. What was
    there stays, and a check finds nothing."""
    number = 1_000_000
    small.protect(files_of(number), f"s{number}")
    small.collect_all()
    before = {each: what for each, what in found.points.items() if what[0] == Place.SEEN}
    wrong = _compare(small, before | {number: (Place.SEEN, True)}, "a new point and a collection")
    small.verify_known()
    rebuild_index(small.vault, Progress())
    return wrong + _compare(small, before | {number: (Place.SEEN, True)}, "a rebuild")


def _compare(small: SmallVault, before: dict[int, tuple[Place, bool]], after: str) -> list[str]:
    small.follow()
    now = {each: what for each, what in points_of(small).items() if what[0] == Place.SEEN}
    wrong = [] if now == before else [f"after {after}, points are {now} and not {before}"]
    return wrong + [f"after {after}: {each.what} {each.object}: {each.reason}" for each in small.check().findings]

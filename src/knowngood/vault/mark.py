"""Marking: everything that can be reached from roots, without any key. One bit per index row.

Pages carry the names they refer to in the plain, so a vault that cannot read a single file can still tell which
chunks are needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import NAME_BYTES
from knowngood.core.ports import Store
from knowngood.seal.frame import read_frame
from knowngood.vault.index import Index
from knowngood.vault.layout import pack_key
from knowngood.vault.pack import PackKind
from knowngood.vault.run import Location, Run, row_frame


def page_refs(store: Store, place: Location, name: bytes) -> bytes:
    """The names that a page refers to; none for a chunk. Raises NotFound, Damaged."""
    if place.pack_kind != PackKind.PAGES:
        return b""
    frame = read_frame(store.get(pack_key(place.pack_kind, place.pack), place.offset, place.length))
    if frame.names != name:
        raise Damaged("the index points to another page")
    return frame.refs


@dataclass(slots=True)
class Life:
    """A frame of which something is needed: its bytes, how many of its names are needed, and how many it holds (0
    where that was not asked)."""

    length: int
    needed: int = 0
    held: int = 0

    @property
    def sifted(self) -> int:
        """About how many bytes its needed chunks would take by themselves: their sizes are sealed."""
        return -(-self.length * min(self.needed, self.held) // self.held)


class Marker:
    """Marks rows of an index. `missing` and `unreadable` collect what should be there and is not; `parents` has, for
    each missing name, every page that refers to it (a root: itself); `logged` has those that a log refers to. Rows into
    `shunned` packs (prefixes) are the last to be marked."""

    def __init__(self, store: Store, index: Index, shunned: frozenset[bytes] = frozenset()) -> None:
        self._store = store
        self._index = index
        self._shunned = shunned
        self._bits = {run.name: bytearray((run.count + 7) // 8) for run in index.runs}
        self.missing: set[bytes] = set()
        self.parents: dict[bytes, set[bytes]] = {}
        self.logged: set[bytes] = set()
        self.unreadable: dict[bytes, str] = {}
        self.pages = 0

    def reach(self, root: bytes) -> None:
        """Mark a root page and all below it. Pages marked before are not read again."""
        self._reach([root])

    def reach_logged(self, refs: bytes) -> None:
        """Mark all of these names, laid end to end, to which a log refers, and what is below them."""
        self._reach(list(self._unmarked_pages(None, refs)))

    def _reach(self, ahead: list[bytes]) -> None:
        while ahead:
            page = ahead.pop()
            ahead.extend(self._unmarked_pages(page, self._page(page)))

    def _unmarked_pages(self, page: bytes | None, refs: bytes) -> Iterator[bytes]:
        """Mark the chunks among the references of a page, or of a log, at once; give the pages back: chunks never queue
        up in memory."""
        for at in range(0, len(refs), NAME_BYTES):
            name = refs[at : at + NAME_BYTES]
            place = self._place(name)
            if place is None:
                self._miss(name, page)
            elif not self._is_marked(place[0], place[1]):
                run, number, row = place
                if run.pack_of(row)[1] == PackKind.PAGES:
                    yield name
                else:
                    self._set(run, number)

    def _miss(self, name: bytes, page: bytes | None) -> None:
        self.missing.add(name)
        if page is None:
            self.logged.add(name)
        else:
            self.parents.setdefault(name, set()).add(page)

    def _places(self, name: bytes) -> list[tuple[Run, int, bytes]]:
        """Where a name lies; of several copies, those first that are not shunned, nor about to be taken away."""
        return sorted(self._index.find(name), key=lambda place: self._cost(place[2]))

    def _cost(self, row: bytes) -> tuple[bool, bool]:
        return row_frame(row)[0] in self._shunned, self._index.condemned(row)

    def _place(self, name: bytes) -> tuple[Run, int, bytes] | None:
        return next(iter(self._places(name)), None)

    def _page(self, name: bytes) -> bytes:
        """Mark a page and return its references, from the first copy that is intact; none when it was marked before."""
        places = self._places(name)
        if not places:  # whoever refers to it has found a place for it, unless it is a root
            self._miss(name, name)
        if not places or any(self._is_marked(run, number) for run, number, _ in places):
            return b""
        self.pages += 1
        reason = ""
        for run, number, row in places:
            try:
                refs = page_refs(self._store, run.locate(row), name)
            except KnowngoodError as wrong:
                reason = reason or wrong.message
                continue
            self._set(run, number)
            return refs
        self._set(*places[0][:2])
        self.unreadable[name] = reason
        return b""

    def _is_marked(self, run: Run, number: int) -> bool:
        return bool(self._bits[run.name][number >> 3] & (1 << (number & 7)))

    def _set(self, run: Run, number: int) -> None:
        self._bits[run.name][number >> 3] |= 1 << (number & 7)

    def marked_rows(self, run: Run) -> Iterator[bytes]:
        """The rows of a run that are marked."""
        bits = self._bits[run.name]
        number = 0
        for byte in range(256):
            for row in run.rows(byte):
                if bits[number >> 3] & (1 << (number & 7)):
                    yield row
                number += 1

    def is_needed(self, name: bytes, pack: bytes, offset: int) -> bool:
        """Whether the copy of a name that lies there (pack prefix, offset of the frame) is the one that is marked."""
        for run in self._index.runs:
            for number, row in run.find(name):
                if row_frame(row)[:2] == (pack, offset) and self._is_marked(run, number):
                    return True
        return False

    def live_frames(self, prefixes: set[bytes]) -> dict[bytes, dict[int, Life]]:
        """Pack prefix → {offset: life} of the frames of these packs of which anything is marked."""
        live: dict[bytes, dict[int, Life]] = {}
        for run in self._index.runs:
            for row in self.marked_rows(run):
                pack, offset, length = row_frame(row)
                if pack in prefixes:
                    live.setdefault(pack, {}).setdefault(offset, Life(length)).needed += 1
        return live

    def _count_held(self, live: dict[bytes, dict[int, Life]]) -> None:
        """How many names these frames hold. Two runs may tell of the same frame; each does of all its names."""
        for run in self._index.runs:
            held: Counter[tuple[bytes, int]] = Counter()
            for row in (row for byte in range(256) for row in run.rows(byte)):
                pack, offset, _ = row_frame(row)
                if pack in live:
                    held[pack, offset] += 1
            for (pack, offset), count in held.items():
                if life := live[pack].get(offset):
                    life.held = max(life.held, count)

    def live_bytes(self, *, sifted: bool = False) -> dict[bytes, int]:
        """Pack prefix → bytes of its frames of which anything is marked; when `sifted`, about what of them would stay
        without the chunks that are not needed. Memory: a part of the packs at a time."""
        totals: dict[bytes, int] = {}
        parts = min(256, max(1, self._index.rows // 500_000))  # told apart by one byte of their names
        for part in range(parts):
            prefixes = {pack[:8] for pack in self._index.packs() if pack[0] * parts // 256 == part}
            live = self.live_frames(prefixes)
            if sifted:
                self._count_held(live)
            for pack, frames in live.items():
                totals[pack] = sum(life.sifted if sifted else life.length for life in frames.values())
        return totals

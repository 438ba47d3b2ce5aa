"""Harm: which names are hurt by packs that are missing, cut or damaged, and which of them points need."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import NAME_BYTES
from knowngood.core.ports import Store
from knowngood.vault.index import Index
from knowngood.vault.layout import pack_key
from knowngood.vault.mark import page_refs
from knowngood.vault.pack import PackKind, read_keys, salvage_pack
from knowngood.vault.run import PACK_PREFIX, PREFIX_BYTES, row_frame

Wrong = tuple[bytes, str]
"""A name, and why it cannot be read; no reason: it is missing."""


class Harmed(StrEnum):
    """What is known of damage in the vault (see `vault/forget`)."""

    NONE = "none"
    FOUND = "found"
    FORGOTTEN = "forgotten"


class Harm:
    """What is known to be wrong with packs. Names are told by their first 16 bytes, packs by their first 8."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._intact: dict[bytes, set[bytes]] = {}  # damaged pack → names of which it still holds every byte
        self._sizes: dict[bytes, int] = {}  # cut pack → its size now
        self._missing: set[bytes] = set()
        self._hurt: set[bytes] = set()  # packs of which the index still places something that cannot be read
        self._blamed: dict[bytes, frozenset[Wrong]] = {}

    @property
    def any(self) -> bool:
        """Whether anything is known to be wrong."""
        return bool(self._intact or self._sizes or self._missing)

    def read(self, key: str, pack: bytes) -> None:
        """Find out what can still be read of a damaged pack: intact frames whose content key is intact as well."""
        good = self._intact.setdefault(pack[:PACK_PREFIX], set())
        try:
            keys = read_keys(lambda offset, length: self._store.get(key, offset, length))
            for frame in salvage_pack(self._store.get(key)):
                if frame.header.key_id in keys:
                    good.update(frame.names[at : at + PREFIX_BYTES] for at in range(0, len(frame.names), NAME_BYTES))
        except KnowngoodError:
            return

    def survey(self, index: Index, sizes: dict[str, int]) -> Iterator[tuple[str, str]]:
        """(key, reason) of every pack that is missing, or shorter than what the index places in it."""
        for known in (self._missing, self._sizes, self._hurt, self._blamed):
            known.clear()
        ends: dict[bytes, int] = {}
        for run in index.runs:
            for row in (row for byte in range(256) for row in run.rows(byte)):
                pack, offset, length = row_frame(row)
                ends[pack] = max(ends.get(pack, 0), offset + length)
                if pack in self._intact and self.reason(row):
                    self._hurt.add(pack)
        for pack, kind in index.packs().items():
            key, prefix = pack_key(kind, pack), pack[:PACK_PREFIX]
            if key not in sizes:
                if not index.deleted(prefix):
                    self._missing.add(prefix)
                    yield key, "missing"
            elif sizes[key] < ends.get(prefix, 0):
                self._sizes[prefix] = sizes[key]
                if prefix not in self._intact:
                    yield key, "cut short"

    def spent(self, pack: bytes) -> bool:
        """Whether a pack that was read is damaged only where the index places nothing (any more)."""
        return pack[:PACK_PREFIX] in self._intact and pack[:PACK_PREFIX] not in self._hurt

    def reason(self, row: bytes) -> str:
        """Why what a row leads to cannot be read; empty when nothing is known against it."""
        pack, offset, length = row_frame(row)
        if pack in self._missing:
            return "its pack is missing"
        if offset + length > self._sizes.get(pack, offset + length):
            return "its pack was cut short"
        return "damaged" if pack in self._intact and row[:PREFIX_BYTES] not in self._intact[pack] else ""

    def blame(self, page: bytes, index: Index) -> frozenset[Wrong]:
        """What lies below a page and cannot be read from any copy. Each page is looked at once, for all points."""
        found = self._blamed.get(page)
        if found is None:
            found = self._blamed[page] = frozenset(self._below(page, index))
        return found

    def _below(self, page: bytes, index: Index) -> Iterator[Wrong]:
        reason = self.reason_of(page, index)
        if reason is None:
            for place in index.locate(page):
                try:
                    refs = page_refs(self._store, place, page)
                except KnowngoodError as wrong:
                    reason = reason or wrong.message
                    continue
                for at in range(0, len(refs), NAME_BYTES):
                    yield from self._child(refs[at : at + NAME_BYTES], index)
                return
        yield page, reason or ""

    def _child(self, name: bytes, index: Index) -> Iterator[Wrong]:
        place = next(index.locate(name), None)
        if place is not None and place.pack_kind == PackKind.PAGES:
            yield from self.blame(name, index)
        elif (reason := self.reason_of(name, index)) is not None:
            yield name, reason

    def reason_of(self, name: bytes, index: Index) -> str | None:
        """Why no copy of a name can be read: "" when there is none; None when nothing is known against one of them."""
        reasons = [self.reason(row) for *_, row in index.find(name)]
        return (reasons or [""])[0] if all(reasons) else None

"""The index: which pack holds a name. Derived from packs; its runs are mapped, so its memory is the kernel's to take.

Only the collector merges runs. Writers add runs of their own; nobody changes one.
"""

from __future__ import annotations

from collections.abc import Iterator

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ports import Store
from knowngood.vault.epoch import Epoch, latest_epoch
from knowngood.vault.layout import INDEX, name_in
from knowngood.vault.run import PACK_PREFIX, PREFIX_BYTES, Location, Run

_ATTEMPTS = 8


class Index:
    """All runs in force. A merged run covers a range of names; a name is only looked for where it can be."""

    def __init__(self, runs: list[Run], condemned: frozenset[bytes], deleted: frozenset[bytes] = frozenset()) -> None:
        self.runs: list[Run] = []
        self._deleted = deleted
        self._condemned = condemned  # prefixes of packs that new commits must not refer to
        self._by_byte: list[list[Run]] = [[] for _ in range(256)]
        for run in runs:
            self.add(run)

    @classmethod
    def open(cls, store: Store, epoch: Epoch, *, settled: bool = False) -> Index:
        """Map the runs in force. Raises Damaged, and says how to rebuild.

        Who commits because of what they tell takes them `settled` (Store.list), or a power cut may undo them.
        """
        for _ in range(_ATTEMPTS):
            try:
                runs = cls._runs(store, set(epoch.superseded), settled)
            except NotFound:
                epoch = latest_epoch(store)  # merged away since the listing
                continue
            # Of deleted packs, a run may still tell: one that was put late, or that there was no room to merge.
            deleted = frozenset(pack[:PACK_PREFIX] for pack, _ in epoch.deleted)
            return cls(runs, deleted.union(pack[:PACK_PREFIX] for pack in epoch.condemned), deleted)
        raise Damaged("the index tells of runs that are not there", hint="run: knowngood vault rebuild")

    @staticmethod
    def _runs(store: Store, gone: set[bytes], settled: bool) -> list[Run]:
        runs: list[Run] = []
        for each in store.list(INDEX, settled=settled):
            name = name_in(each.key)
            if name not in gone:
                try:
                    runs.append(Run(name, store.view(each.key)))
                except Damaged as wrong:
                    raise Damaged(f"{wrong.message} ({each.key})", hint="run: knowngood vault rebuild") from None
        return runs

    def add(self, run: Run) -> None:
        """A run that this session has just put, or one from the listing."""
        self.runs.append(run)
        for byte in range(256):
            if run.covers(byte):
                self._by_byte[byte].append(run)

    def remove(self, run: Run) -> None:
        """A run whose rows another one holds by now."""
        for place in (self.runs, *self._by_byte):
            if run in place:
                place.remove(run)

    def find(self, name: bytes) -> Iterator[tuple[Run, int, bytes]]:
        """(run, row number, row) of every row with this name."""
        for run in self._by_byte[name[0]]:
            for number, row in run.find(name):
                yield run, number, row

    def condemned(self, row: bytes) -> bool:
        """Whether a row points into a pack that new commits must not refer to."""
        return bool(self._condemned) and row[PREFIX_BYTES:24] in self._condemned

    def deleted(self, prefix: bytes) -> bool:
        """Whether the pack whose name begins so is gone for good."""
        return prefix in self._deleted

    def known(self, name: bytes) -> bool:
        """Whether a new commit may refer to this name."""
        return any(not self.condemned(row) for _, _, row in self.find(name))

    def locate(self, name: bytes) -> Iterator[Location]:
        """Every place where this name lies. A damaged row leads nowhere; another copy may be intact."""
        for run, _, row in self.find(name):
            try:
                place = run.locate(row)
            except Damaged:
                continue
            yield place

    def packs(self) -> dict[bytes, int]:
        """Every pack the index points into, with its kind."""
        return {pack: kind for run in self.runs for pack, kind in run.packs.items()}

    @property
    def rows(self) -> int:
        """Number of rows over all runs."""
        return sum(run.count for run in self.runs)

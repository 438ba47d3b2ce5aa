"""Merging index runs: many into few, without rows that are no longer wanted, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from knowngood.core.errors import Exists
from knowngood.core.ports import Store
from knowngood.vault.index import Index
from knowngood.vault.layout import run_key
from knowngood.vault.run import PREFIX_BYTES, encode_run

RUN_ROWS = 1 << 19


def merge_runs(store: Store, index: Index, keep: Callable[[bytes], bool], *, run_rows: int = RUN_ROWS) -> list[bytes]:
    """Put runs that hold every row of `index` that satisfies `keep`. Returns their names.

    A run covers whole leading bytes of names and about `run_rows` rows: memory is that of one run.
    """
    packs = index.packs()
    names: list[bytes] = []
    gathered: list[bytes] = []
    for byte in range(256):
        here = {row for run in index.runs for row in run.rows(byte) if keep(row)}
        gathered += sorted(here)
        if len(gathered) >= run_rows:
            names.append(put_run(store, packs, gathered))
            gathered = []
    if gathered:
        names.append(put_run(store, packs, gathered))
    return names


def put_run(store: Store, packs: dict[bytes, int], ordered: list[bytes]) -> bytes:
    """Put one run with the packs that its rows use. Returns its name."""
    used = {row[PREFIX_BYTES:24] for row in ordered}
    mine = {pack: kind for pack, kind in packs.items() if pack[:8] in used}
    name, parts = encode_run(mine, ordered, len(ordered))
    with suppress(Exists):
        store.put(run_key(name), parts)
    return name

"""How the vault's structures grow: index, marking, catalog and tree, at 10^4 … 10^7. `python -m bench.scale [LARGEST]`

Times are seconds of the processor, so that a busy machine does not show; memory is what Python allocates beyond what
there was before. docs/scale.md has the figures and what follows from them.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from knowngood.core.ids import NAME_BYTES, new_id
from knowngood.core.model import Mark, Point
from knowngood.testing.stores import MemoryStore
from knowngood.tree.block import ROW, BlockWriter, Content
from knowngood.tree.build import TreeBuilder
from knowngood.vault.catalog import Catalog
from knowngood.vault.index import Index
from knowngood.vault.layout import commit_key
from knowngood.vault.mark import Marker
from knowngood.vault.record import Commit, Hidden, PlainCheckpoint, PlainPoint
from knowngood.vault.run import Run, encode_run, make_row

_LOOKUPS = 20_000


@contextmanager
def _timed(found: dict[str, float], what: str, each: int) -> Iterator[None]:
    """Microseconds of the processor for each of so many."""
    before = time.process_time()
    yield
    found[what] = (time.process_time() - before) / each * 1e6


def _index(count: int) -> dict[str, float]:
    """A run of random names that lie in packs of 32 frames."""
    packs = [os.urandom(32) for _ in range(max(1, count // 32))]
    rows = sorted(make_row(os.urandom(32), packs[at % len(packs)], at % 32 << 20, 1 << 20) for at in range(count))
    found: dict[str, float] = {}
    with _timed(found, "index: encode a row, µs", count):
        name, parts = encode_run(dict.fromkeys(packs, 1), rows, count)
    data = b"".join(parts)
    found["index: bytes of a row"] = len(data) / count
    names = [row[:16] + bytes(16) for row in rows[:: max(1, count // _LOOKUPS)]]
    del rows, parts, packs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _timed(found, "index: open, ms", 1000):
        index = Index([Run(name, data)], frozenset())
    found["index: KiB to have it open"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    with _timed(found, "index: find a name, µs", len(names)):
        assert all(index.known(each) for each in names)
    strange = [os.urandom(32) for _ in names]
    with _timed(found, "index: miss a name, µs", len(names)):
        assert not any(index.known(each) for each in strange)
    marker = Marker(MemoryStore(), index)
    with _timed(found, "collect: mark a chunk, µs", len(names)):
        marker.reach_logged(b"".join(names))
    with _timed(found, "collect: what is needed of packs, µs a row", count):
        marker.live_bytes()
    found["collect: bits of a row"] = 1
    return found


def _catalog(count: int) -> dict[str, float]:
    """Points of ten services, one commit each."""
    catalog = Catalog(":memory:")
    found: dict[str, float] = {}
    session = new_id()
    made: list[tuple[Commit, Hidden]] = []
    for at in range(count):
        identifier, checkpoint = new_id(), new_id()
        marks = (Mark(b"t" * 16, checkpoint),)
        plain = PlainPoint(identifier, b"s" * 16, marks)
        point = Point(
            id=identifier, service_label=b"s" * 16, service=f"service-{at % 10}", marks=marks, level="L0",
            status="recoverable", moment_ns=at + 1, started_ns=at, evidence={}, definition=b"",
        )  # fmt: skip
        commit = Commit(session, at, at + 1, (PlainCheckpoint(checkpoint, b"t" * 16, os.urandom(NAME_BYTES)), plain))
        made.append((commit, Hidden(points=(point,))))
    with _timed(found, "catalog: take a commit, µs", count):
        for commit, hidden in made:
            catalog.learn(commit_key(session, commit.number), commit, hidden)
    with _timed(found, "catalog: points of one service of ten, µs a point", count // 10):
        assert len(catalog.points("service-3")) == count // 10
    with _timed(found, "catalog: find a point by its id, ms", 1000):
        catalog.find_point(made[count // 2][1].points[0].id.hex())
    catalog.close()
    return found


def _tree(count: int) -> dict[str, float]:
    """Folders of a thousand files of one chunk each."""
    pages, size = 0, 0

    def page(refs: bytes, body: bytes) -> bytes:
        nonlocal pages, size
        pages, size = pages + 1, size + len(refs) + len(body)
        return os.urandom(NAME_BYTES)

    found: dict[str, float] = {}
    row = ROW.pack(0o100644, 0, 0, 1, 1000, 1, 2, 3)
    with _timed(found, "tree: add a path, µs", count):
        builder = TreeBuilder(page)  # type: ignore[arg-type] # a name is bytes
        for folder in range(0, count, 1000):
            writer = BlockWriter(b"%09d" % folder, 0)
            for at in range(min(1000, count - folder)):
                writer.add(b"file-%04d" % at, row, Content.CHUNKS, os.urandom(NAME_BYTES))
                if writer.full:
                    builder.add(writer.block())
            builder.add(writer.block())
        builder.finish()
    found["tree: bytes of a path in pages"] = size / count
    found["tree: paths in a page"] = count / pages
    return found


def main(largest: int) -> None:
    """Print a table: a line for each figure, a column for each size."""
    sizes = [10**power for power in range(4, 9) if 10**power <= largest]
    table: dict[str, dict[int, float]] = {}
    for measure, limit in ((_index, largest), (_catalog, 10**6), (_tree, 10**7)):
        for size in (each for each in sizes if each <= limit):
            for what, value in measure(size).items():
                table.setdefault(what, {})[size] = value
    sys.stdout.write(
        "| figure | " + " | ".join(f"{size:,}" for size in sizes) + " |\n|---|" + "---|" * len(sizes) + "\n"
    )
    for what, values in table.items():
        cells = (f"{values[size]:.3g}" if size in values else "" for size in sizes)
        sys.stdout.write(f"| {what} | " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 10**6)

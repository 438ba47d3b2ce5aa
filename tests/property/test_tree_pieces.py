"""The pieces of a changed file are a string of bytes, whatever is done to them, and however often."""

from __future__ import annotations

from random import Random
from unittest.mock import patch

from hypothesis import given, strategies as st

from knowngood.testing.memory import MemoryPages, MemoryScratch, MemoryVault
from knowngood.tree import assemble, pieces as module
from knowngood.tree.block import Content, Entry, Extra
from knowngood.tree.overlay import OverlaySource
from knowngood.tree.pieces import Pieces
from knowngood.tree.read import TreeReader
from knowngood.tree.sources import Sources
from knowngood.tree.stored import Chunk
from tests.unit.tree.growing import row
from tests.unit.tree.replaying import content

AREA, CROWD = 64, 5
offsets = st.integers(0, 500)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["bytes", "chunk", "zeros", "wide zeros"]), offsets, st.integers(1, 90)),
        st.tuples(st.just("dots"), offsets, st.integers(1, 60)),
        st.tuples(st.just("truncate"), offsets, st.just(0)),
    ),
    max_size=60,
)


def stored(vault: MemoryVault, data: bytes) -> Entry:
    """An entry of chunks of different lengths."""
    parts = [data[at : at + 37] for at in range(0, len(data), 37)]
    for part in parts:
        vault.chunks[vault.namer.chunk(part)] = part
    refs = b"".join(vault.namer.chunk(part) for part in parts)
    extra = Extra(lengths=tuple(map(len, parts)))
    return Entry.of(b"", b"f", row(len(data)), 0, Content.CHUNKS, refs, extra=extra)


@given(st.binary(max_size=400), steps)
def test_pieces_are_the_bytes(before: bytes, several: list[tuple[str, int, int]]) -> None:
    vault, scratch, some = MemoryVault(), MemoryScratch(), Random(1)
    sources = Sources(MemoryPages(vault), scratch, keep=2)
    with patch.multiple(module, _SHIFT=6, _AREA=AREA, CROWD=CROWD), patch.multiple(assemble, HOLE=16, INLINE_BYTES=4):
        file, data = Pieces(stored(vault, before), sources, scratch), before
        for kind, at, length in several:
            new = some.randbytes(length)
            match kind:
                case "truncate":
                    file.truncate(at)
                    data = data[:at].ljust(at, b"\0")
                    continue
                case "dots":  # many pieces side by side, with gaps
                    for dot in range(at, at + length, 3):
                        file.lay(dot, dot + 1, scratch.put(b"x"))
                        data = data.ljust(dot, b"\0")[:dot] + b"x" + data[dot + 1 :]
                    continue
                case "bytes":
                    file.lay(at, at + length, scratch.put(new))
                case "chunk":
                    vault.chunks[vault.namer.chunk(new)] = new
                    file.lay(at, at + length, Chunk(vault.namer.chunk(new), length))
                case _:
                    length *= 5 if kind == "wide zeros" else 1
                    new = bytes(length)
                    file.zero(at, at + length)
            data = data.ljust(at, b"\0")[:at] + new + data[at + length :]
        assert file.size == len(data)
        assert file.read(0, file.size) == data
        low = min(100, file.size)
        assert file.read(low, min(250, file.size)) == data[low:250]
        assert all(len(pieces) <= CROWD for pieces in file._areas.values())
        assert not any(number > file.size // AREA for number in file._areas)
        _described(file, data, vault, scratch, sources)


def _described(file: Pieces, data: bytes, vault: MemoryVault, scratch: MemoryScratch, sources: Sources) -> None:
    """What the entry says of the content leads to the same bytes."""
    overlay = OverlaySource(MemoryPages(vault), scratch)
    columns = assemble.assemble(file, overlay, sources)
    extra = Extra(lengths=columns[3], extents=columns[4])
    entry = Entry.of(b"", b"f", row(file.size), 0, *columns[:3], extra=extra)
    assert content(entry, TreeReader(overlay.put(b"", b""), overlay.page), overlay) == data

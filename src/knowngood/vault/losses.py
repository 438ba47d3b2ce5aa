"""What points need and the vault has lost: may a collection go on beside it?

A lost chunk hides nothing: nothing lies below it, so all else that is needed is known. A lost page hides what it
refers to: whatever seems to be needed by nobody may be needed by it. Of a name that no row tells of, nobody without a
key knows which of the two it was; the page that refers to it knows, and opens with the private key. Logs refer to
chunks only: what nothing but a log refers to is one, and takes no key.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass

from blake3 import blake3

from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.core.ports import PageSource, Store
from knowngood.tree.block import Content
from knowngood.tree.page import LEAF, LIST, decode_leaf, page_kind
from knowngood.vault.index import Index
from knowngood.vault.layout import pack_key
from knowngood.vault.mark import Marker
from knowngood.vault.pack import PackKind, walk_pack
from knowngood.vault.run import PREFIX_BYTES, row_frame


@dataclass(frozen=True, slots=True)
class Losses:
    """First 16 bytes of names: `chunks` are lost and certainly chunks; `hiding` may be pages, or may come back."""

    chunks: frozenset[bytes]
    hiding: frozenset[bytes]


def find_losses(marker: Marker, index: Index, there: Container[bytes], pages: PageSource | None) -> Losses:
    """What marking did not find. `there` has the prefixes of the packs that are there: what lies in another may come
    back with a disk. `pages` opens the pages that refer to what is missing; None when no key is at hand."""
    sure = {name for name in marker.missing if _is_chunk(name, marker.parents.get(name, ()), pages)}
    hiding = {name[:PREFIX_BYTES] for name in {*marker.unreadable, *(marker.missing - sure)}}
    for run in index.runs:
        hiding.update(row[:PREFIX_BYTES] for row in marker.marked_rows(run) if row_frame(row)[0] not in there)
    return Losses(frozenset(name[:PREFIX_BYTES] for name in sure), frozenset(hiding))


def _is_chunk(name: bytes, parents: Collection[bytes], pages: PageSource | None) -> bool:
    """Whether all pages that refer to a name say that it is a chunk; a root, which is none, stands for itself."""
    if not parents:
        return True  # then a log refers to it
    with suppress(KnowngoodError):
        return pages is not None and all(name in _chunks_of(*pages.page(Name(page))) for page in parents)
    return False


def _chunks_of(refs: bytes, body: bytes) -> set[bytes]:
    """The names that a page refers to as chunks, and never as pages."""
    if page_kind(body) == LIST:
        return {refs[at : at + NAME_BYTES] for at in range(0, len(refs), NAME_BYTES)}
    if page_kind(body) != LEAF:
        return set()
    chunks: set[bytes] = set()
    lists: set[bytes] = set()
    for entry in (entry for block in decode_leaf(refs, body) for entry in block.entries()):
        (lists if entry.content == Content.LIST else chunks).update(entry.names())
    return chunks - lists


def holds_none(store: Store, pack: bytes, kind: PackKind, lost: frozenset[bytes]) -> bool:
    """Whether a pack is as it was written, to the last byte, and no frame of it has any of these names (16 bytes each).

    What is damaged today may be read another day, in another drive: a pack that may hold a copy is not thrown away.
    """
    try:
        data = store.get(pack_key(kind, pack))
        return blake3(data).digest() == pack and lost.isdisjoint(_names(data))
    except KnowngoodError:
        return False


def _names(data: bytes) -> Iterator[bytes]:
    for frame in walk_pack(lambda offset, length: data[offset : offset + length], len(data)):
        for at in range(0, len(frame.names), NAME_BYTES):
            yield frame.names[at : at + PREFIX_BYTES]

"""A tree built from nothing out of entries, with blocks cut as a listing of the directories cuts them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from itertools import groupby

from knowngood.core.ids import Name
from knowngood.tree.block import NO_EXTRA, BlockWriter, Content, Entry, Extra
from knowngood.tree.build import TreeBuilder, ends_block
from knowngood.tree.edit import Change
from tests.unit.tree.growing import FILE, Pages, chunk_name

Entries = Mapping[tuple[bytes, bytes], Entry]


def entry(directory: bytes, name: bytes, seed: int, *, file_system: int = 0, links: int = 1) -> Entry:
    """A file whose columns follow from a number: nothing, inline, one chunk, several chunks, attributes."""
    some = random.Random(seed)
    content, refs, inline, size, extra = Content.NONE, b"", b"", 0, NO_EXTRA
    match seed % 5:
        case 1:
            content, inline = Content.INLINE, some.randbytes(some.randrange(1, 9))
            size = len(inline)
        case 2:
            content, refs, size = Content.CHUNK, chunk_name(b"%d" % (seed % 7)), 500
        case 3:
            lengths = tuple(some.randrange(1, 300) for _ in range(some.randrange(2, 6)))
            content, refs = Content.CHUNKS, b"".join(chunk_name(b"%d" % length) for length in lengths)
            size, extra = sum(lengths), Extra(lengths=lengths)
        case 4:
            extra = Extra(xattrs=((b"user.k", some.randbytes(some.randrange(200))),))
    row = (FILE, 0, 0, links, size, seed, 2, seed)
    return Entry(directory, name, *row, file_system, int(content), refs, inline, extra)


def rebuild(pages: Pages, entries: Entries) -> Name:
    """The tree of these entries, from nothing."""
    builder = TreeBuilder(pages.put)
    places = sorted(entries)
    for (directory, file_system), group in groupby(places, key=lambda place: (place[0], entries[place].file_system)):
        writer, count = BlockWriter(directory, file_system), 0
        for place in group:
            each = entries[place]
            writer.add(each.name, each.row, each.content, each.refs, each.inline, each.extra)
            count += 1
            ends = ends_block(count, each.name)
            if ends:
                count = 0
            if ends or writer.full:
                builder.add(writer.block())
                writer = BlockWriter(directory, file_system)
        if len(writer):
            builder.add(writer.block())
    return builder.finish()


def changed(entries: Entries, changes: Iterable[Change]) -> dict[tuple[bytes, bytes], Entry]:
    """What a dictionary of entries becomes."""
    result = dict(entries)
    for change in changes:
        if not change.name:
            for place in list(result):
                if not change.directory or (place[0] + b"\0").startswith(change.directory + b"\0"):
                    del result[place]
        elif change.entry is None:
            result.pop(change.key, None)
        else:
            result[change.key] = change.entry
    return result

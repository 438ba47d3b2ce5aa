"""Facts: what a recovery has to know of a server that does not run any more, kept as a small file in its image."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import msgspec

from knowngood.core.errors import Damaged, NotFound
from knowngood.core.ids import Name
from knowngood.core.instants import now_ns
from knowngood.core.model import Checkpoint
from knowngood.core.ports import ChunkSink, PageSource
from knowngood.databases.image import Image
from knowngood.tree.read import TreeReader

FILE = "knowngood.json"
FOLDER = "folder"
"""The fact that every kind has: where the server keeps its data."""

_BYTES = 64 << 10

Facts = Mapping[str, str]


def add_facts(image: Image, sink: ChunkSink, facts: Facts) -> None:
    """Put them into an image."""
    image.add(sink, FILE.encode(), BytesIO(msgspec.json.encode(dict(facts))).read, now_ns())


def facts_of(checkpoint: Checkpoint, pages: PageSource) -> Facts:
    """Those of a checkpoint; none for older ones. Raises Damaged, Locked."""
    tree = TreeReader(Name(checkpoint.root), pages.page)
    try:
        entry = tree.lookup(FILE.encode())
    except NotFound:
        return {}
    data = entry.inline or b""
    for name, _ in tree.chunks(entry):
        data += bytes(pages.chunk(Name(name)))
        if len(data) > _BYTES:
            break
    try:
        return msgspec.json.decode(data, type=dict[str, str])
    except msgspec.MsgspecError:
        raise Damaged(f"what the point tells of its server cannot be understood: {FILE}") from None

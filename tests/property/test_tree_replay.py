"""Whatever is done to a tree of files, the records of it bring every state of it back."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings, strategies as st

from knowngood.core.log import Form, LogRecord
from knowngood.testing.memory import MemoryPages, MemoryScratch, MemoryVault
from knowngood.tree import assemble, block, build, content, pieces
from knowngood.tree.replay import Replay
from tests.property.test_tree import small_pages
from tests.unit.tree.replaying import FILE, FOLDER, LINK, Model, expand, land, read

NAMES = (b"a", b"a-", b"b", b"c", b"\x01")
KINDS = [
    *(("write",) * 3), *(("create", "rename") * 2), "truncate", "folder", "symlink", "link", "unlink", "exchange",
    "attributes", "xattr", "flags",
]  # fmt: skip
steps = st.lists(st.tuples(st.sampled_from(KINDS), *[st.integers(0, 400)] * 4), max_size=30)


@contextmanager
def small() -> Iterator[None]:
    """While this lasts, little files have many areas, chunks, list pages and holes."""
    with ExitStack() as stack:
        bounds: dict[str, Any]
        for module, bounds in (
            (pieces, {"_SHIFT": 7, "_AREA": 128, "CROWD": 6}),
            (assemble, {"HOLE": 16, "INLINE_BYTES": 8, "MADE_BYTES": 40, "MADE_LIMIT": 90, "EXTENTS": 5}),
            (content, {"DIRECT_CHUNKS": 3, "_PAGE_CHUNKS": 5, "_PAGE_MASK": 1}),
            (block, {"BLOCK_USES": 9}),
            (build, dict(small_pages())),
        ):
            stack.enter_context(patch.multiple(module, **bounds))
        yield


def step(model: Model, vault: MemoryVault, kind: str, a: int, b: int, c: int, d: int) -> LogRecord | None:
    """Do one change of the model, if it can be done: the numbers choose where and what."""
    every = model.paths(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    files, others = model.paths(stat.S_IFREG), every[1:]
    folders = model.paths(stat.S_IFDIR)
    folder, name = folders[b % len(folders)], NAMES[c % len(NAMES)]
    fresh = folder + b"\0" + name if folder else name
    row = d % 3 > 0
    some = Random(d)
    match kind:
        case "write" if files:
            form = Form(1 + d % 4)
            return model.write(files[a % len(files)], b, some.randbytes(c % 150), form, vault, row=row)
        case "truncate" if files:
            return model.truncate(files[a % len(files)], b, row=row)
        case "create" if fresh not in model.nodes:
            return model.create(fresh, FILE, some.randbytes(d % 40 if d % 2 else 0))
        case "folder" if fresh not in model.nodes:
            return model.create(fresh, FOLDER)
        case "symlink" if fresh not in model.nodes:
            return model.create(fresh, LINK, b"to/%d" % d)
        case "link" if files and fresh not in model.nodes:
            return model.link(fresh, files[a % len(files)])
        case "unlink" if others and not model.below(path := others[a % len(others)]):
            return model.unlink(path, row=row)
        case "rename" if others:
            path, there = others[a % len(others)], model.nodes.get(fresh)
            alike = there is None or stat.S_ISDIR(there.mode) == stat.S_ISDIR(model.nodes[path].mode)
            if alike and not model.below(fresh) and not fresh.startswith(path + b"\0"):
                return model.rename(path, fresh, row=row)
        case "exchange" if others:
            path, other = others[a % len(others)], others[b % len(others)]
            if not path.startswith(other + b"\0") and not other.startswith(path + b"\0"):
                return model.rename(path, other, exchange=True, row=row)
        case "attributes":
            return model.attributes(every[a % len(every)], d)
        case "xattr":
            path = every[a % len(every)]
            value = None if b"user.k" in model.nodes[path].xattrs and d % 2 else some.randbytes(c % 20)
            return model.xattr(path, b"user.k", value)
        case "flags" if others:
            return model.flags(others[a % len(others)], d)
    return None


@settings(max_examples=settings().max_examples * 4)
@given(steps, steps, st.integers(1, 6))
def test_every_prefix_of_a_log_gives_its_state(before: list[tuple], after: list[tuple], every: int) -> None:
    with small():
        model, vault, scratch = Model(), MemoryVault(), MemoryScratch()
        for each in before:
            step(model, vault, *each)
        root = land(model, vault)
        pages = MemoryPages(vault)
        assert read(root, pages) == model.shown()
        replay = Replay(root, pages, scratch, expand, model.sequence)
        for number, each in enumerate(after):
            record = step(model, vault, *each)
            if record is not None:
                replay.apply(record)
                if number % every == 0:
                    assert read(*replay.state()) == model.shown()
        assert read(*replay.state()) == model.shown()

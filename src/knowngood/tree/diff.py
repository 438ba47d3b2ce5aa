"""What differs between two trees. Pages with the same name are never read: the cost follows the changes."""

from __future__ import annotations

from collections.abc import Iterator

from knowngood.tree.block import Block, Entry
from knowngood.tree.page import Child
from knowngood.tree.read import Cursor, TreeReader

Key = tuple[bytes, bytes]


def _differing_blocks(old: Cursor, new: Cursor) -> Iterator[tuple[Block | None, Block | None]]:
    while old.head is not None or new.head is not None:
        left, right = old.head, new.head
        if isinstance(left, Child) and isinstance(right, Child) and left.page == right.page:
            old.pop()
            new.pop()
        elif isinstance(left, Child) and not (isinstance(right, Child) and right.level > left.level):
            old.expand()
        elif isinstance(right, Child):
            new.expand()
        else:
            assert not isinstance(left, Child)
            at_left = (left.directory, left.first) if left else None
            at_right = (right.directory, right.first) if right else None
            take_left = at_left is not None and (at_right is None or at_left <= at_right)
            take_right = at_right is not None and (at_left is None or at_right <= at_left)
            if take_left:
                old.pop()
            if take_right:
                new.pop()
            if not (take_left and take_right and left and right and left.same_as(right)):
                yield left if take_left else None, right if take_right else None


def _merge(old: dict[Key, Entry], new: dict[Key, Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before != after:
            yield before, after


def diff(old: TreeReader, new: TreeReader) -> Iterator[tuple[Entry | None, Entry | None]]:
    """(before, after) of every entry that differs, in tree order; None where it does not exist.

    Memory: the differing entries of one directory.
    """
    directory: bytes | None = None
    before: dict[Key, Entry] = {}
    after: dict[Key, Entry] = {}
    for left, right in _differing_blocks(old.cursor(), new.cursor()):
        here = (left or right).directory  # type: ignore[union-attr] # one of both is always there
        if here != directory:
            yield from _merge(before, after)
            before, after, directory = {}, {}, here
        for block, side in ((left, before), (right, after)):
            if block is not None:
                side.update(((entry.directory, entry.name), entry) for entry in block.entries())
    yield from _merge(before, after)

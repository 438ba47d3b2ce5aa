"""Which files damage costs: what a check found, followed up the trees of the points that need it. Takes the key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import Name
from knowngood.core.model import Checkpoint, Point
from knowngood.core.ports import PageSource
from knowngood.flow.parts import Parts
from knowngood.tree.block import Content, Entry
from knowngood.tree.page import Child, decode_list
from knowngood.tree.read import Cursor
from knowngood.vault.finding import Finding

_PREFIX = 8  # bytes of a name, as findings have them
_TREES = 8
"""So many trees of a component are read at most, from the newest hurt point on, until all that is damaged was met."""


@dataclass(frozen=True, slots=True)
class HurtFile:
    """A file that a point has and cannot give back whole; with `and_more`, the first of all that one page lists; an
    empty path then is everything."""

    service: str
    component: str
    point: bytes
    path: bytes
    and_more: bool = False


def hurt_files(findings: Iterable[Finding], parts: Parts) -> list[HurtFile]:
    """The files of the points that findings name, newest points first; none without the private key."""
    private = parts.private_here()
    bad, points = set[bytes](), set[bytes]()
    for each in findings:
        if each.what in ("content", "chunk"):
            with suppress(ValueError):
                bad.add(bytes.fromhex(each.object)[:_PREFIX])
                points.update(each.points)
    if private is None or not bad:
        return []
    with suppress(KnowngoodError), parts.vault.session("name what is hurt", reading=True) as session:
        return list(_hurt(points, parts.vault.reader(session, private), bad, parts))
    return []  # the index cannot be read: nothing can


def _hurt(points: set[bytes], pages: PageSource, bad: set[bytes], parts: Parts) -> Iterator[HurtFile]:
    met: dict[bytes, set[bytes]] = {}  # timeline → what was met of the damage
    trees: dict[bytes, set[bytes]] = {}  # timeline → roots
    for point, checkpoint in _checkpoints(points, parts):
        seen, roots = met.setdefault(checkpoint.timeline, set()), trees.setdefault(checkpoint.timeline, set())
        if checkpoint.root in roots or len(roots) >= _TREES or bad <= seen:
            continue
        roots.add(checkpoint.root)
        here = set[bytes]()
        for path, names, more in _paths(checkpoint.root, pages, bad):
            if not names <= seen:
                yield HurtFile(point.service, checkpoint.component, point.id, path, more)
            here |= names
        seen |= here


def _checkpoints(points: set[bytes], parts: Parts) -> Iterator[tuple[Point, Checkpoint]]:
    for point in parts.catalog.points() + parts.catalog.points(expired=True):
        for mark in point.marks if point.id in points else ():
            with suppress(KnowngoodError):
                yield point, parts.catalog.checkpoint(mark.checkpoint)


def _paths(root: bytes, pages: PageSource, bad: set[bytes]) -> Iterator[tuple[bytes, set[bytes], bool]]:
    """(path, damaged names that it needs, whether more follow that nobody can list)."""
    try:
        cursor = Cursor(Name(root), pages.page)
    except KnowngoodError:
        yield b"", {root[:_PREFIX]}, True
        return
    while (head := cursor.head) is not None:
        if not isinstance(head, Child):
            cursor.pop()
            for entry in head.entries():
                if names := _needs(entry, pages, bad):
                    yield entry.path, names, False
            continue
        try:
            cursor.expand()
        except KnowngoodError:
            path = b"/".join(filter(None, (head.directory.replace(b"\0", b"/"), head.first)))
            yield path, {bytes(head.page[:_PREFIX])}, True


def _needs(entry: Entry, pages: PageSource, bad: set[bytes]) -> set[bytes]:
    names = list(entry.names())
    if entry.content == Content.LIST:
        for page in list(names):
            with suppress(KnowngoodError):
                names += decode_list(*pages.page(Name(page)))[0]
    return {bytes(each[:_PREFIX]) for each in names} & bad

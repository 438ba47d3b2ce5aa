"""A base that is read beside: what points do meanwhile, and that no collector takes it away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from knowngood.core.errors import KnowngoodError, NotYet
from knowngood.core.model import ComponentSpec, ServiceSpec, Status
from knowngood.core.ports import ChunkSink, KindTraits
from knowngood.core.progress import Progress
from knowngood.databases.image import Image
from knowngood.databases.kind import DatabaseKind, Ways
from knowngood.flow.beside import BaseReading
from knowngood.flow.follow import Following
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.kinds.files import FilesKind
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, read_tree
from knowngood.vault.session import list_sessions
from tests.unit.databases.test_follower import Filled

_DEADLINE = 30.0
_TRAITS = KindTraits(name="filled", capture=("scan", "journal"), located=False)


class Slow(Filled):
    """A feed whose base comes when a test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go_on = threading.Event(), threading.Event()

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """Waits."""
        self.begun.set()
        assert self.go_on.wait(_DEADLINE)
        return super().base(image, sink, progress)


class Shop:
    """A database and a folder, followed into a vault."""

    def __init__(self, folder: Path) -> None:
        (folder / "site").mkdir()
        (folder / "site" / "page").write_bytes(b"page" * 100)
        self.feed, self.small, self.told = Slow(), SmallVault(MemoryStore()), threading.Event()
        files = FilesKind()
        ways = Ways(_TRAITS, lambda _: None, lambda *_: self.feed, _no_sandbox, lambda _: (0, 0))
        self.kinds = {"filled": DatabaseKind(ways, files), "files": files}
        self.state = folder / "state"
        self.service = ServiceSpec(
            name="shop",
            components=(
                ComponentSpec(name="db", kind="filled"),
                ComponentSpec(name="site", kind="files", path=str(folder / "site")),
            ),
        )
        self.parts = self.parts_of(self.small)
        self.following = Following(self.service, self.service.components[0], self.parts)

    def parts_of(self, small: SmallVault) -> Parts:
        """What verbs are given."""
        return Parts(
            vault=small.vault,
            catalog=small.catalog,
            kinds=lambda: self.kinds,
            state_dir=lambda timeline: str(self.state / timeline.hex()),
            private=lambda: small.private,
        )

    def opened(self) -> AbstractContextManager[Parts]:
        """The vault, as the thread opens it for itself."""
        return nullcontext(self.parts_of(self.small.beside()))

    @contextmanager
    def reading(self) -> Iterator[BaseReading]:
        """A base has begun to be read."""
        beside = self.following.standing.beside
        assert beside is not None
        reading = BaseReading(self.following, beside, self.opened, self.told.set)
        try:
            assert self.feed.begun.wait(_DEADLINE)
            yield reading
        finally:
            self.feed.go_on.set()
            reading.stop(lambda: None)

    def protect(self):
        """A point, by the keeper."""
        return protect(self.service, self.parts, partly=True, followed={"db": self.following})

    def has(self) -> dict[bytes, bytes]:
        """What the newest complete point has of the database."""
        self.small.follow()
        point = next(each for each in self.small.catalog.points("shop") if each.status == Status.RECOVERABLE)
        root = self.small.catalog.checkpoint(point.marks[0].checkpoint).root
        with self.small.vault.session("read") as session:
            return read_tree(root, self.small.vault.reader(session, self.small.private))


def _no_sandbox(*_: object):
    raise NotImplementedError


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Followed, without a base."""
    made = Shop(tmp_path)
    made.feed.written = bytes(range(256)) * 2000
    yield made
    made.following.close()


def test_a_point_without_it(shop: Shop) -> None:
    """The folder is in it, and it says that the database is not; alone, the database has to wait."""
    with shop.reading():
        made = shop.protect()
        assert [each.component for each in made.checkpoints] == ["site"]
        assert made.point.status == Status.INCOMPLETE
        assert isinstance(made.left_out[0].error, NotYet)
        shop.service = replace(shop.service, components=shop.service.components[:1])
        with pytest.raises(NotYet):
            shop.protect()


@pytest.mark.parametrize("when", ["before", "within", "after"])
def test_a_collection_beside_it(shop: Shop, when: str) -> None:
    """It waits for the base's session, whenever it began; afterwards nothing is missing."""
    old = shop.small.protect({b"file": b"old" * 5000}, "other")
    shop.small.expire(old)
    with shop.reading() as reading:
        if when == "before":
            assert shop.small.collect().waiting_for
        shop.feed.go_on.set()
        assert shop.told.wait(_DEADLINE)
        assert reading.is_ready
        if when == "within":
            assert shop.small.collect().waiting_for
        made = shop.protect()
        assert not made.left_out
        if when == "after":
            assert shop.small.collect().waiting_for
        reading.release()
        reading.stop(lambda: None)
    assert list_sessions(shop.small.store) == []
    shop.small.collect_all()
    assert not shop.small.check().findings
    assert shop.has()[b"base"] == shop.feed.written


def test_a_session_that_was_ended(shop: Shop) -> None:
    """What it read may be gone: the point is made without it, and it is read anew."""
    with shop.reading() as reading:
        shop.feed.go_on.set()
        assert shop.told.wait(_DEADLINE)
        (card,) = list_sessions(shop.small.store)
        shop.small.store.delete(f"sessions/{card.id.hex()}")
        with pytest.raises(NotYet):
            shop.protect()
        assert shop.following.standing.beside is not None
        reading.release()
    with shop.reading():
        shop.feed.go_on.set()


def test_one_that_cannot_be_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why is said by whoever makes a point, and by the reading itself."""

    def refused(*_: object) -> bytes:
        shop.feed.begun.set()
        raise KnowngoodError("no rights")

    monkeypatch.setattr(shop.feed, "base", refused)
    with shop.reading() as reading:
        assert shop.told.wait(_DEADLINE)
        assert str(reading.failure) == "no rights"
        (left_out,) = shop.protect().left_out
        assert left_out.error.message == "no rights"
    assert list_sessions(shop.small.store) == []


def test_one_that_is_not_wanted_any_more(shop: Shop) -> None:
    """It ends at the next chunk, and what is to be done afterwards is done once."""
    done: list[str] = []
    after: Callable[[], None] = lambda: done.append("closed")  # noqa: E731 - short
    beside = shop.following.standing.beside
    assert beside is not None
    reading = BaseReading(shop.following, beside, shop.opened, shop.told.set)
    assert shop.feed.begun.wait(_DEADLINE)
    timer = threading.Timer(0.2, shop.feed.go_on.set)
    timer.start()
    reading.stop(after)
    timer.join()
    assert done == ["closed"]
    assert reading.failure is not None
    assert list_sessions(shop.small.store) == []

"""An image against a plain dict of files: bases, growth, pages that change, checkpoints that fail, restarts.

After each checkpoint its tree has what the dict has, and replay of the records since the one before comes to the same.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from knowngood.core.ids import Name, new_id
from knowngood.core.log import LogRecord
from knowngood.databases import image as module
from knowngood.databases.image import Image
from knowngood.databases.local import LocalFiles
from knowngood.databases.remembered import Remembered
from knowngood.databases.steps import Begin, Commit, Drop, Resize, Settle, Step, Write, records
from knowngood.testing.memory import MemoryPages, MemoryScratch, MemorySink, MemoryVault
from knowngood.tree.replay import Replay
from tests.servers.following import contents
from tests.unit.tree.replaying import expand

OWNER = 7, 8
PIECE = 8192
_PAGED_PIECE = 4096
_SIZES = (0, 1, 100, 4096, 5000, 20_000, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 5)
names = st.sampled_from([b"a", b"b", b"sub/a", b"sub/deep/b"])


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


class ImageMachine(RuleBasedStateMachine):
    """`files` is how everything should be, `landed` how it is in the last committed checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self._smaller = patch.object(module, "PIECE", PIECE)
        self._smaller.start()
        self.folder = tempfile.mkdtemp()
        self.vault = MemoryVault()
        self.files: dict[bytes, bytearray] = {}
        self.kinds: dict[bytes, str] = {}
        self.sizes: dict[bytes, int] = {}  # that files had when they were new
        self.folders: set[bytes] = set()  # a log makes none: they come with a base
        self.log: list[LogRecord] = []
        self.committed: tuple[Name, int] | None = None
        self.saved: tuple[dict[bytes, bytes], dict[bytes, str]] = {}, {}
        self.image = self._fresh()

    def _fresh(self) -> Image:
        self.local = LocalFiles(self.folder + "/growing")
        return Image(self.local, OWNER, lambda: 5)

    @initialize(sizes=st.lists(st.sampled_from(_SIZES), max_size=2), paged=st.sampled_from(_SIZES))
    def base(self, sizes: list[int], paged: int) -> None:
        """Some files that never change, one whose pages do."""
        self.files, self.kinds, self.sizes, self.log, self.committed = {}, {}, {}, [], None
        sink = MemorySink(self.vault)
        for number, size in enumerate(sizes):
            self._add(sink, b"sub/deep/%d" % number, noise(size, number), "base")
        self._add(sink, b"pages", noise(paged, 99), "paged")
        sink.flush()
        self.folders = {b"sub", b"sub/deep"} if sizes else set()
        self.checkpoint()

    def _add(self, sink: MemorySink, path: bytes, data: bytes, kind: str) -> None:
        rest = [data]

        def read(most: int) -> bytes:
            part, rest[0] = rest[0][: min(most, 3000)], rest[0][min(most, 3000) :]
            return part

        if kind == "paged":
            self.image.add_paged(sink, path, read, 0o640, _PAGED_PIECE)
        else:
            assert self.image.add(sink, path, read, 5) == len(data)
        self.files[path], self.kinds[path] = bytearray(data), kind

    def _do(self, *steps: Step) -> None:
        self.image.apply(steps)
        self.log += records([*steps, Commit()], OWNER, len(self.log), 5)

    def _any(self, kind: str, number: int) -> bytes | None:
        found = sorted(path for path, each in self.kinds.items() if each == kind)
        return found[number % len(found)] if found else None

    # ------------------------------------------------------------------------------------------------------ changes

    @rule(path=names, size=st.sampled_from([0, 0, 5000, PIECE + 7]))
    def begin(self, path: bytes, size: int) -> None:
        """A new file, which grows."""
        folder = path.rpartition(b"/")[0]
        if path not in self.files and (not folder or folder in self.folders):
            self._do(Begin(path, size))
            self.files[path], self.kinds[path], self.sizes[path] = bytearray(), "growing", size

    @rule(number=st.integers(0, 9), size=st.sampled_from(_SIZES), again=st.integers(0, 100))
    def grow(self, number: int, size: int, again: int) -> None:
        """At its end; sometimes what was there comes once more."""
        path = self._any("growing", number)
        if path is None:
            return
        data = self.files[path]
        start = max(len(data) - again, self.image._growing[path].landed * PIECE)
        more = bytes(data[start:]) + noise(size, number)
        self._do(Write(path, start, more))
        self.files[path] = data[:start] + more

    @rule(offset=st.integers(0, 3 * PIECE), size=st.integers(1, 5000), seed=st.integers(0, 9))
    def page(self, offset: int, size: int, seed: int) -> None:
        """Somewhere in the file whose pages change."""
        if (path := self._any("paged", 0)) is None:
            return
        data, new = self.files[path], noise(size, seed)
        if len(data) < offset:
            data.extend(bytes(offset - len(data)))
        data[offset : offset + size] = new
        self._do(Write(path, offset, new))

    @rule(size=st.sampled_from(_SIZES))
    def resize(self, size: int) -> None:
        """It becomes shorter or longer."""
        if (path := self._any("paged", 0)) is None:
            return
        data = self.files[path]
        del data[size:]
        data.extend(bytes(size - len(data)))
        self._do(Resize(path, size))

    @rule(number=st.integers(0, 9))
    def settle(self, number: int) -> None:
        """It grows no more."""
        if (path := self._any("growing", number)) is not None:
            self._do(Settle(path))
            self.kinds[path] = "settled"

    @rule(kind=st.sampled_from(["growing", "settled", "base", "paged"]), number=st.integers(0, 9))
    def drop(self, kind: str, number: int) -> None:
        """It goes."""
        if (path := self._any(kind, number)) is not None:
            self._do(Drop(path))
            del self.files[path], self.kinds[path]

    # -------------------------------------------------------------------------------------------------- checkpoints

    def _read(self, path: bytes, offset: int, length: int) -> bytes:
        return bytes(self.files[path][offset : offset + length])

    def _root(self) -> Name:
        sink = MemorySink(self.vault)
        root = self.image.root(sink, self._read)
        sink.flush()
        assert self.image.totals.files == len(self.files)
        assert self.image.totals.bytes == sum(map(len, self.files.values()))
        return root

    @rule()
    def checkpoint(self) -> None:
        """What its tree has is what there is; so is what replay makes of the one before."""
        root = self._root()
        found = contents((root, MemoryPages(self.vault)))
        wanted = {path.replace(b"/", b"\0"): self._wanted(path) for path in self.files}
        there = {key: each[3] for key, each in found.items() if each[0] & 0o100000}
        assert there == wanted
        assert {each[1:3] for each in found.values()} == {OWNER}
        if self.committed is not None:
            before, start = self.committed
            replay = Replay(before, MemoryPages(self.vault), MemoryScratch(), expand, start)
            replay.run(self.log[start:])
            assert contents(replay.state()) == found
        self.image.landed()
        Remembered(self.folder).save(new_id(), b"", self.image.state())
        self.committed = root, len(self.log)
        self.saved = {path: bytes(data) for path, data in self.files.items()}, dict(self.kinds)
        self.saved_sizes = dict(self.sizes)

    def _wanted(self, path: bytes) -> bytes:
        return bytes(self.files[path]).ljust(self.sizes.get(path, 0), b"\0")

    @rule()
    def checkpoint_that_is_lost(self) -> None:
        """Its tree was made, and nobody has it."""
        self._root()

    @precondition(lambda self: self.committed is not None)
    @rule(lost=st.booleans())
    def restart(self, lost: bool) -> None:
        """What was remembered is the last committed checkpoint, or it is known not to be usable."""
        self.local.close()
        known = Remembered(self.folder).load()
        assert known is not None
        image = self._fresh()
        if lost:
            self.local.clear()
        if not image.restore(known.image, MemorySink(self.vault)):
            assert lost or self._gone()
            self.local.clear()
            self.image = self._fresh()
            self.base([3], 9000)
            return
        self.image = image
        assert self.committed is not None
        del self.log[self.committed[1] :]
        self.files = {path: bytearray(data) for path, data in self.saved[0].items()}
        self.kinds, self.sizes = dict(self.saved[1]), dict(self.saved_sizes)

    def _gone(self) -> bool:
        """Whether a local file was let go that goes on growing after the last checkpoint."""
        growing = (path for path, kind in self.saved[1].items() if kind == "growing")
        return any(self.kinds.get(path) != "growing" for path in growing)

    @invariant()
    def waiting(self) -> None:
        """Never less than nothing."""
        assert self.image.waiting_bytes >= 0

    def teardown(self) -> None:
        """Leave nothing."""
        self._smaller.stop()
        self.local.close()
        shutil.rmtree(self.folder, ignore_errors=True)


TestImage = ImageMachine.TestCase

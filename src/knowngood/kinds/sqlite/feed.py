"""A database of SQLite as a feed: the pages that a transaction wrote are writes to the database file."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator

import msgspec

from knowngood.core.errors import Damaged, KnowngoodError, NotFound, Unsupported
from knowngood.core.ports import ChunkSink, Holder
from knowngood.core.progress import Progress
from knowngood.databases.feed import ChainBroken, Taken
from knowngood.databases.image import Image
from knowngood.databases.paged import PAGED_PIECE
from knowngood.databases.steps import Commit, Resize, Step, Write
from knowngood.kinds.sqlite.holder import SqliteHolder
from knowngood.kinds.sqlite.link import Warden
from knowngood.kinds.sqlite.words import Place, Request, Transaction

_READ_BYTES = 1 << 20


class SqliteFeed:
    """One database file. All reading is done by its warden."""

    def __init__(self, path: str, name: str, state_dir: str) -> None:
        """`path` has no symbolic links; `name` is what the file is called in a tree."""
        self._path = path
        self._state_dir = state_dir
        self._name = os.fsencode(name)
        self._warden: Warden | None = None
        self._place: Place | None = None  # as far as it was taken
        self._size = 0  # of the file, as the steps left it
        self._marked = False
        self._holder = SqliteHolder(self._ask, self._set_mark)

    @property
    def holder(self) -> Holder | None:
        """The write lock is taken."""
        return self._holder

    # ------------------------------------------------------------------------------------------------- base and log

    def base(self, image: Image, sink: ChunkSink, progress: Progress) -> bytes:
        """The database as it is now; while it is read, others write. Without a log of its own it is copied first."""
        self._end()
        progress.enter(f"reading {self._path}")
        mode = self._mode()
        try:
            place = self._place = self._begin(None)
        except Unsupported:
            self._end()
            with self._copied() as copy:
                image.add_paged(sink, self._name, copy, mode, PAGED_PIECE)
            return b""
        assert place
        at, end = 0, place.pages * place.page_size
        self._size = end

        def read(most: int) -> bytes:
            nonlocal at
            part = self._read(b"", at, min(most, _READ_BYTES, end - at)) if at < end else b""
            at += len(part)
            return part

        image.add_paged(sink, self._name, read, mode, PAGED_PIECE)
        return msgspec.msgpack.encode(place)

    def _mode(self) -> int:
        try:
            return stat.S_IMODE(os.stat(self._path, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            raise NotFound(f"there is no database {self._path}") from None

    @contextlib.contextmanager
    def _copied(self) -> Iterator[Callable[[int], bytes]]:
        """A copy by SQLite's own means, to be read from its beginning."""
        os.makedirs(self._state_dir, mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._state_dir, prefix="copy-") as file:
            with contextlib.closing(Warden(self._path, file.name)) as warden:
                warden.ask(Request("copy"))
            with open(file.name, "rb") as copy:
                yield copy.read

    def resume(self, position: bytes) -> bool:
        """Go on in the same log."""
        self._end()
        try:
            place = msgspec.msgpack.decode(position, type=Place)
            self._place = self._begin(place)
        except (Damaged, msgspec.MsgspecError, Unsupported, ChainBroken):
            return False
        self._size = place.pages * place.page_size
        return self._place is not None

    def _begin(self, place: Place | None) -> Place | None:
        self._warden = Warden(self._path)
        answer = self._warden.ask(Request("begin", place))
        return answer.place if answer.done else None

    # ------------------------------------------------------------------------------------------------------- taking

    def take(self) -> Taken:
        """The transactions that were committed since."""
        if self._place is None:
            raise ChainBroken(f"{self._path} has no log that could be followed")
        if self._warden is None and not self.resume(msgspec.msgpack.encode(self._place)):
            raise ChainBroken(f"the log of {self._path} does not go on where it was")
        assert self._warden
        self._warden.hear()
        steps: list[Step] = []
        while True:
            answer = self._ask(Request("take"))
            for each in answer.transactions:
                steps += self._steps(each, answer.place)
            if answer.done or not self._marked:
                break
        self._marked, self._place = False, answer.place
        return Taken(steps, msgspec.msgpack.encode(answer.place), self._read)

    def _steps(self, transaction: Transaction, place: Place | None) -> Iterator[Step]:
        """Its pages, neighbours together, and the length of the file when it is another one."""
        assert place
        size, parts, first = place.page_size, list[bytes](), 0
        for page in sorted(transaction.pages):
            if parts and page != first + len(parts):
                yield self._write((first - 1) * size, parts)
                parts = []
            first = first if parts else page
            parts.append(transaction.pages[page])
        if parts:
            yield self._write((first - 1) * size, parts)
        if self._size != transaction.size * size:
            self._size = transaction.size * size
            yield Resize(self._name, self._size)
        yield Commit()

    def _write(self, offset: int, parts: list[bytes]) -> Write:
        data = b"".join(parts)
        self._size = max(self._size, offset + len(data))
        return Write(self._name, offset, data)

    def _read(self, path: bytes, offset: int, length: int) -> bytes:  # noqa: ARG002 - there is one file
        return self._ask(Request("read", offset=offset, length=length)).data

    def _ask(self, request: Request):
        if self._warden is None:
            raise ChainBroken(f"{self._path} is not followed")
        try:
            return self._warden.ask(request)
        except ChainBroken:
            self._end()
            self._place = None
            raise
        except KnowngoodError as wrong:
            if wrong.code != "busy":  # what was answered and not heard comes again from a new one
                self._end()
            raise

    def _set_mark(self) -> None:
        self._marked = True

    def landed(self, position: bytes) -> None:
        """Nobody asks."""

    def kept(self, position: bytes) -> None:
        """The log is handed over as soon as it is taken: a base is never further away than the database itself."""

    def fileno(self) -> int:
        """Can be read when something was committed."""
        return self._warden.fileno() if self._warden else -1

    def close(self) -> None:
        """Let go of the database."""
        self._end()

    def _end(self) -> None:
        warden, self._warden = self._warden, None
        self._marked = False
        if warden is not None:
            warden.close()

"""The three files of a database in WAL mode, read beside SQLite. Never closed: a close would drop SQLite's own locks.

What was taken is a prefix of the log. A page of the database as of then is in the last frame that has it, or, when none
has, in the database file: checkpoints copy only frames that some reader does not hold back, and the warden's own reader
holds back all that was not taken.
"""

from __future__ import annotations

import os
import time

from knowngood.kinds.sqlite.words import BROKEN, BUSY, FAILED, GONE, UNFIT, Place, Refusal, Transaction
from knowngood.wire.wal import (
    FRAME,
    HEADER,
    INDEX,
    Sums,
    WalHeader,
    WalIndex,
    add,
    is_page_size,
    parse_frame,
    parse_header,
    parse_index,
)

TRANSACTION_BYTES = 64 << 20
"""One transaction that writes more than this is not taken page by page: a new base follows."""

_BATCH_BYTES = 1 << 20
_FEW = 8  # frames that are read for a transaction of unknown length
_INDEX_SECONDS = 1.0


class Files:
    """The files, and how far the log was taken."""

    def __init__(self, path: str, main: int) -> None:
        """`main` is the open database file; SQLite has made the others. Raises Refusal."""
        self.path = path
        self._main = main
        self._wal, self._shm = (self._opened(path + end) for end in ("-wal", "-shm"))
        self._inodes = [_inode(os.fstat(each)) for each in (main, self._wal, self._shm)]
        self._map: dict[int, int] = {}  # page → the last frame that was taken of this log which has it
        self._big = False
        self.complete = False  # all was taken when all had been copied into the database: the log may begin anew
        self.place = Place(self._inodes[0], b"", 0, (0, 0), 0, 0)

    @staticmethod
    def _opened(path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as wrong:
            raise Refusal(FAILED, f"{path} cannot be read: {os.strerror(wrong.errno or 0).lower()}") from None

    def same(self) -> None:
        """Raise Refusal when other files have taken the place of these."""
        for end, inode in zip(("", "-wal", "-shm"), self._inodes, strict=True):
            try:
                if _inode(os.stat(self.path + end)) == inode:
                    continue
            except FileNotFoundError:
                if not end:
                    raise Refusal(GONE, f"there is no database {self.path} any more") from None
            raise Refusal(BROKEN, "another file took the place of the database, or of its log")

    def index(self) -> WalIndex:
        """What is committed now. Raises Refusal when nobody can say."""
        end = time.monotonic() + _INDEX_SECONDS
        while (found := parse_index(os.pread(self._shm, INDEX, 0))) is None:
            if time.monotonic() > end:
                raise Refusal(BUSY, f"the index of {self.path}'s log cannot be read: it is being recovered")
            time.sleep(0.001)
        return found

    @property
    def wal_bytes(self) -> int:
        """Length of the log file."""
        return os.fstat(self._wal).st_size

    @property
    def wal_path(self) -> str:
        """Where it is."""
        return self.path + "-wal"

    # -------------------------------------------------------------------------------------------------------- taking

    def begin(self) -> None:
        """Take nothing as taken: the log is read from its beginning."""
        found = self.index()
        size, pages = found.page_size, found.pages
        if not size:  # then all is in the database file
            size = page_size_of(os.pread(self._main, 100, 0))
            pages = os.fstat(self._main).st_size // size
        self.place = Place(self._inodes[0], found.salts, 0, (0, 0), size, pages)
        self._map.clear()

    def take(self, to: WalIndex, most: int) -> list[Transaction]:
        """The transactions up to where the log went, of about so many bytes at most.

        Raises Refusal: broken, when it does not go on from where it was taken.
        """
        place = self.place
        if to.salts != place.salts:
            if not to.frames:
                return []  # somebody is about to begin the log anew
            raise Refusal(BROKEN, "the log began anew before all of it was taken")
        if to.page_size not in (0, place.page_size) or to.frames < place.frame:
            raise Refusal(BROKEN, "the log is another one")
        if to.frames and not place.frame:
            self._first_frame()
        taken: list[Transaction] = []
        while place.frame < to.frames and most > 0:
            taken.append(self._transaction(to))
            most -= len(taken[-1].pages) * place.page_size
        if place.frame == to.frames and to.frames and place.sums != to.sums:
            raise Refusal(BROKEN, "the log is not what its index says")
        return taken

    def anew(self, to: WalIndex) -> bool:
        """Whether the log began anew once since; then it goes on there. All of it had been taken, and copied."""
        old, new = (int.from_bytes(each[:4], "big") for each in (self.place.salts, to.salts))
        fresh = not any(self.place.salts)  # there was no log yet
        if to.frames and not fresh and new != (old + 1) & 0xFFFFFFFF:
            return False
        self.place.salts, self.place.frame = to.salts, 0
        self._map.clear()
        return not to.frames or not fresh or self._header().number == 0

    def _first_frame(self) -> None:
        header = self._header()
        self._big, self.place.sums = header.big, header.sums

    def _header(self) -> WalHeader:
        header = parse_header(os.pread(self._wal, HEADER, 0))
        if header is None or header.salts != self.place.salts or header.page_size != self.place.page_size:
            raise Refusal(BROKEN, "the log is not what its index says")
        return header

    def _transaction(self, to: WalIndex) -> Transaction:
        """The next one. What was spilled and rolled back is beyond the frames of the index, or was overwritten."""
        place, pages = self.place, dict[int, bytes]()
        frame, sums, numbers, size = place.frame, place.sums, dict[int, int](), 0
        while not size:
            if frame >= to.frames:
                raise Refusal(BROKEN, "a transaction has no end")
            if len(pages) * place.page_size > TRANSACTION_BYTES:
                raise Refusal(BROKEN, f"one transaction wrote more than {TRANSACTION_BYTES >> 20} MiB")
            frame, sums, size = self._batch(frame, sums, to, pages, numbers)
        place.frame, place.sums, place.pages = frame, sums, size
        self._map.update(numbers)
        for page in [each for each in self._map if each > size] if max(self._map) > size else ():
            del self._map[page]
        return Transaction({page: data for page, data in pages.items() if page <= size}, size)

    def _batch(
        self, frame: int, sums: Sums, to: WalIndex, pages: dict[int, bytes], numbers: dict[int, int]
    ) -> tuple[int, Sums, int]:
        """Read on, up to the next commit, verified. The next frame, the sums, the size when it was a commit."""
        step = FRAME + self.place.page_size
        count = min(to.frames - frame, max(_FEW, len(pages)), max(1, _BATCH_BYTES // step))
        data = os.pread(self._wal, count * step, HEADER + frame * step)
        if len(data) != count * step:
            raise Refusal(BROKEN, "the log is shorter than its index says")
        summed: list[bytes] = []
        for at in range(0, len(data), step):
            head = parse_frame(data, at)
            if head.salts != self.place.salts or not head.page:
                raise Refusal(BROKEN, "a frame is of another log")
            page = data[at + FRAME : at + step]
            summed += (data[at : at + 8], page)
            pages[head.page], numbers[head.page] = page, frame
            frame += 1
            if head.commit or at + step == len(data):
                if add(b"".join(summed), sums, big=self._big) != head.sums:
                    raise Refusal(BROKEN, "a frame is damaged")
                return frame, head.sums, head.commit
        raise AssertionError

    # ------------------------------------------------------------------------------------------------------- reading

    @property
    def size(self) -> int:
        """Bytes of the database as it was taken."""
        return self.place.pages * self.place.page_size

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the database as it was taken."""
        size, parts = self.place.page_size, list[bytes]()
        end = min(offset + length, self.size)
        while offset < end:
            page, inside = offset // size + 1, offset % size
            count = min(size - inside, end - offset)
            if (frame := self._map.get(page)) is not None:
                found = os.pread(self._wal, count, HEADER + frame * (FRAME + size) + FRAME + inside)
            else:
                while offset + count < end and page + 1 not in self._map:  # as many pages at once as are there
                    page, count = page + 1, min(count + size, end - offset)
                found = os.pread(self._main, count, offset)
            parts.append(found.ljust(count, b"\0"))  # pages at the end that were never written
            offset += count
        return b"".join(parts)


def page_size_of(head: bytes) -> int:
    """By the header of a database (File Format, "The Database Header"). Raises Refusal when it is none."""
    size = int.from_bytes(head[16:18], "big")
    size = 65536 if size == 1 else size
    if head[:16] != b"SQLite format 3\0" or not is_page_size(size):
        raise Refusal(UNFIT, "it is no database of SQLite, or an encrypted one")
    return size


def _inode(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_dev, seen.st_ino

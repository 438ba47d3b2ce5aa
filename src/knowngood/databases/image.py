"""An image: the files of a database as a vault has them. Most are there for good, some grow with the server's log, the
pages of others change in place."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator

import msgspec

from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.core.model import Totals
from knowngood.core.ports import ChunkSink
from knowngood.core.sizes import MIB
from knowngood.databases.local import LocalFiles
from knowngood.databases.paged import Columns, Paged, ReadAt
from knowngood.databases.steps import Begin, Commit, Drop, Resize, Settle, Step, Write
from knowngood.tree.block import NO_EXTRA, ROOT_NAME, ROW, Content, Entry, Extra
from knowngood.tree.build import TreeBuilder
from knowngood.tree.content import ChunkList, pack_extents
from knowngood.tree.cut import Cutter
from knowngood.tree.edit import Change, edit
from knowngood.tree.read import TreeReader

PIECE = MIB
"""Files are cut at multiples of this: the same pages of a database make the same chunks in every base."""

Place = tuple[bytes, bytes]


class Grown(msgspec.Struct, array_like=True):
    """A file that grows. Its first `landed` pieces are in the vault for good; `names` has all that were put."""

    inode: int
    size: int
    mtime_ns: int
    filled: int = 0
    landed: int = 0
    names: list[bytes] = []
    tail: bytes = b""  # the name of what is behind the whole pieces
    settled: bool = False


class ImageState(msgspec.Struct, array_like=True):
    """An image as it is remembered between processes."""

    root: bytes
    pages: dict[bytes, tuple[bytes, bytes]]
    growing: dict[bytes, Grown]
    totals: Totals
    inodes: int
    paged: dict[bytes, Paged] = {}
    settled_bytes: int = 0


class Filling:
    """Gathers the content of one file that comes in parts; several may be filled at once. Memory: a piece."""

    def __init__(self, sink: ChunkSink) -> None:
        self._sink = sink
        self._chunks = ChunkList(sink.page)
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        self._rest += data
        whole = len(self._rest) // PIECE * PIECE
        for at in range(0, whole, PIECE):
            self._chunks.add(self._sink.add(bytes(self._rest[at : at + PIECE])), PIECE)
        del self._rest[:whole]

    def finish(self) -> tuple[int, Columns]:
        """The file's size, and its content."""
        if self._rest:
            self._chunks.add(self._sink.add(bytes(self._rest)), len(self._rest))
        size = self._chunks.total
        return size, self._chunks.finish()


class Image:
    """The files of one database.

    Memory: the pages of its tree, and 60 bytes for each piece of the files that grow or whose pages change in place.
    """

    def __init__(self, local: LocalFiles, owner: tuple[int, int], clock: Callable[[], int]) -> None:
        """An empty one. `local` takes what no committed checkpoint has yet; `owner` (uid, gid) has all files."""
        self.owner = owner
        self._local = local
        self._clock = clock
        self._totals = Totals()
        self._root: Name | None = None
        self._pages: dict[Name, tuple[bytes, bytes]] = {}
        self._growing: dict[bytes, Grown] = {}
        self._paged: dict[bytes, Paged] = {}
        self._changed: dict[Place, Entry | None] = {}
        self._inodes = 0
        self._settled_bytes = 0  # of files that grow no more

    # ------------------------------------------------------------------------------------------------------- a base

    def add(self, sink: ChunkSink, path: bytes, read: Callable[[int], bytes], mtime_ns: int, mode: int = 0o600) -> int:
        """Put in a whole file, of what `read` gives until it gives nothing: at most so many bytes a call. Its size."""
        filling = Filling(sink)
        while data := read(PIECE):
            filling.feed(data)
        return self.fill(path, filling, mtime_ns, mode)

    def fill(self, path: bytes, filling: Filling, mtime_ns: int, mode: int = 0o600) -> int:
        """Put in a file whose content was gathered. Its size."""
        size, content = filling.finish()
        self._put(path, self._row(stat.S_IFREG | mode, size, mtime_ns), content)
        self._totals.files += 1
        self._totals.bytes += size
        return size

    def add_paged(self, sink: ChunkSink, path: bytes, read: Callable[[int], bytes], mode: int, piece: int) -> None:
        """Put in a whole file whose pages will change in place. `piece` is a length in bytes."""
        self._inodes += 1
        paged = Paged(self._inodes, mode, 0, self._clock(), piece)
        content = paged.fill(sink, read)
        self._paged[path] = paged
        self._put(path, self._paged_row(paged), content)
        self._totals.files += 1

    def folder(self, path: bytes, mtime_ns: int, mode: int = 0o700) -> None:
        """Put in a folder. Those that something is in need not be named."""
        self._put(path, self._row(stat.S_IFDIR | mode, 0, mtime_ns), (int(Content.NONE), b"", ()))
        self._totals.directories += 1

    def link(self, path: bytes, target: bytes, mtime_ns: int) -> None:
        """Put in a symbolic link."""
        self._put(path, self._row(stat.S_IFLNK | 0o777, len(target), mtime_ns), (int(Content.INLINE), b"", ()), target)
        self._totals.others += 1

    # -------------------------------------------------------------------------------------------------- what comes

    def apply(self, steps: Iterable[Step]) -> None:
        """What the server's log brought. The same writes once more change nothing. Raises OSError."""
        for step in steps:
            if isinstance(step, Begin):
                self._inodes += 1
                self._growing[step.path] = Grown(self._inodes, step.size, self._clock())
                self._local.begin(step.path)
                self._totals.files += 1
            elif isinstance(step, Write):
                self._write(step)
            elif isinstance(step, Resize):
                self._paged[step.path].resize(step.size)
                self._paged[step.path].mtime_ns = self._clock()
            elif isinstance(step, Settle):
                self._growing[step.path].settled = True
            elif isinstance(step, Drop):
                self._drop(step)
            else:
                assert isinstance(step, Commit)

    def _write(self, step: Write) -> None:
        if paged := self._paged.get(step.path):
            paged.write(step.offset, len(step.data))
            paged.mtime_ns = self._clock()
            return
        grown = self._growing[step.path]
        if step.offset > grown.filled or step.offset < grown.landed * PIECE:
            raise Damaged("a file of a database's log does not grow at its end")
        self._local.write(step.path, step.offset, step.data)
        grown.filled = max(grown.filled, step.offset + len(step.data))
        grown.size = max(grown.size, grown.filled)
        grown.mtime_ns = self._clock()

    def _drop(self, step: Drop) -> None:
        if self._growing.pop(step.path, None):
            self._local.drop(step.path)
        elif not self._paged.pop(step.path, None) and (entry := self._found(_place(step.path))) is not None:
            self._totals.bytes -= sum(length for _, length in entry.extents())
        self._changed[_place(step.path)] = None
        self._totals.files -= 1

    @property
    def waiting_bytes(self) -> int:
        """How much is only in the log, and in no checkpoint."""
        growing = sum(each.filled - each.landed * PIECE for each in self._growing.values())
        return growing + sum(each.waiting for each in self._paged.values())

    # -------------------------------------------------------------------------------------------------- a checkpoint

    def root(self, sink: ChunkSink, read: ReadAt | None = None) -> Name:
        """The tree of all its files, in the sink. What only this tree has is kept until `landed` is called.

        `read` gives what files have whose pages change in place. Raises what it raises, OSError.
        """
        for path, grown in self._growing.items():
            extents = pack_extents([(0, grown.filled)]) if grown.filled < grown.size else b""
            content = self._content(sink, path, grown)
            self._put(path, self._grown_row(grown), content, extents=extents)
        for path, paged in self._paged.items():
            if paged.dirty:
                assert read is not None  # or the tree would silently miss what changed
                self._put(path, self._paged_row(paged), paged.content(sink, path, read))

        def put(refs: bytes, body: bytes) -> Name:
            name = sink.page(refs, body)
            self._pages[name] = (bytes(refs), bytes(body))
            return name

        changes = sorted(self._changed.items())
        if self._root is None:
            self._root = _built(put, [entry for _, entry in changes if entry])
        else:
            self._root = edit(self._root, self._page, put, [Change(*place, entry) for place, entry in changes])
        self._changed.clear()
        return self._root

    def landed(self) -> None:
        """The last tree is in a committed checkpoint. Raises OSError."""
        assert self._root is not None
        for path, grown in list(self._growing.items()):
            grown.landed = len(grown.names)
            if grown.settled:
                self._settled_bytes += grown.filled
                del self._growing[path]
                self._local.drop(path)
            elif grown.filled % PIECE:
                self._local.sync(path)
        for paged in self._paged.values():
            paged.landed()
        self._pages = dict(_reachable(self._root, self._pages))

    @property
    def totals(self) -> Totals:
        """What is in it."""
        growing = sum(each.filled for each in self._growing.values())
        paged = sum(each.size for each in self._paged.values())
        return msgspec.structs.replace(self._totals, bytes=self._totals.bytes + self._settled_bytes + growing + paged)

    def is_long(self, least: int, times: int) -> bool:
        """Whether what grew, which a server replays at recovery, is more than both `least` and so many bases."""
        grown = self._settled_bytes + sum(each.filled for each in self._growing.values())
        return grown > max(least, times * self._totals.bytes)

    def _content(self, sink: ChunkSink, path: bytes, grown: Grown) -> Columns:
        del grown.names[grown.landed :]
        for number in range(grown.landed, grown.filled // PIECE):
            grown.names.append(sink.add(self._local.read(path, number * PIECE, PIECE)))
        chunks, rest = ChunkList(sink.page), grown.filled % PIECE
        for name in grown.names:
            chunks.add(name, PIECE)
        grown.tail = sink.add(self._local.read(path, grown.filled - rest, rest)) if rest else b""
        if rest:
            chunks.add(grown.tail, rest)
        return chunks.finish()

    # -------------------------------------------------------------------------------------------------- remembering

    def state(self) -> ImageState:
        """What to remember, after `landed`."""
        assert self._root is not None
        pages: dict[bytes, tuple[bytes, bytes]] = {**self._pages}
        known = (self._root, pages, self._growing, self._totals, self._inodes)
        return ImageState(*known, self._paged, self._settled_bytes)

    def restore(self, state: ImageState, sink: ChunkSink) -> bool:
        """Go on with what was remembered; False when the local files do not have what belongs to it."""
        self._root, self._totals, self._inodes = Name(state.root), state.totals, state.inodes
        self._pages = {Name(name): page for name, page in state.pages.items()}
        self._growing, self._paged, self._settled_bytes = state.growing, state.paged, state.settled_bytes
        try:
            return all(self._has_tail(sink, *each) for each in state.growing.items())
        except OSError:
            return False

    def _has_tail(self, sink: ChunkSink, path: bytes, grown: Grown) -> bool:
        rest = grown.filled % PIECE
        tail = self._local.read(path, grown.filled - rest, rest)
        return len(tail) == rest and (not rest or sink.name(tail) == grown.tail)

    # ------------------------------------------------------------------------------------------------------- entries

    def _row(self, mode: int, size: int, mtime_ns: int) -> bytes:
        self._inodes += 1
        return ROW.pack(mode, *self.owner, 1, size, mtime_ns, 0, self._inodes)

    def _grown_row(self, grown: Grown) -> bytes:
        return ROW.pack(stat.S_IFREG | 0o600, *self.owner, 1, grown.size, grown.mtime_ns, 0, grown.inode)

    def _paged_row(self, paged: Paged) -> bytes:
        mode = stat.S_IFREG | stat.S_IMODE(paged.mode)
        return ROW.pack(mode, *self.owner, 1, paged.size, paged.mtime_ns, 0, paged.inode)

    def _put(self, path: bytes, row: bytes, content: Columns, inline: bytes = b"", extents: bytes = b"") -> None:
        """Put in an entry, and the folders above it."""
        place, (kind, refs, lengths) = _place(path), content
        self._above(place[0])
        extra = Extra(lengths, extents) if lengths or extents else NO_EXTRA
        self._changed[place] = Entry.of(*place, row, 0, kind, refs, inline, extra)

    def _above(self, directory: bytes) -> None:
        """The folders above something, and the root."""
        while self._found(place := _split(directory) if directory else (b"", ROOT_NAME)) is None:
            row = self._row(stat.S_IFDIR | 0o700, 0, self._clock())
            self._changed[place] = Entry.of(*place, row, 0, int(Content.NONE))
            self._totals.directories += 1
            directory = place[0]

    def _found(self, place: Place) -> Entry | None:
        if place in self._changed or self._root is None:
            return self._changed.get(place)
        return TreeReader(self._root, self._page).find(*place)

    def _page(self, name: Name) -> tuple[bytes, bytes]:
        return self._pages[name]


def _split(key: bytes) -> Place:
    directory, _, name = key.rpartition(b"\0")
    return directory, name


def _place(path: bytes) -> Place:
    return _split(path.replace(b"/", b"\0"))


def _built(put: Callable[[bytes, bytes], Name], entries: Iterable[Entry]) -> Name:
    builder = TreeBuilder(put)
    cutter = Cutter(builder.add)
    for entry in entries:
        cutter.entry(entry)
    cutter.end()
    return builder.finish()


def _reachable(root: Name, pages: dict[Name, tuple[bytes, bytes]]) -> Iterator[tuple[Name, tuple[bytes, bytes]]]:
    """The pages of a tree, out of more."""
    seen, ahead = {root}, [root]
    while ahead:
        name = ahead.pop()
        refs, body = pages[name]
        yield name, (refs, body)
        below = {Name(refs[at : at + 32]) for at in range(0, len(refs), 32)}
        ahead += (each for each in below if each in pages and each not in seen)
        seen |= below

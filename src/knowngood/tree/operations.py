"""What each record of a log does to the names and files of a tree (docs/format.md, Log frames and segments)."""

from __future__ import annotations

import stat
from collections.abc import Callable

import msgspec

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, Unsupported
from knowngood.core.ids import NAME_BYTES
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.sizes import MIB
from knowngood.tree.block import NO_EXTRA, ROW, Content, Entry, Extra
from knowngood.tree.namespace import Folder, Item, Namespace, place_of
from knowngood.tree.pieces import Pieces
from knowngood.tree.sources import Scratch, Sources
from knowngood.tree.stored import Chunk

Expand = Callable[[bytes, int], bytes]
"""zstd data → exactly so many bytes. Raises Damaged."""

_LARGEST = (1 << 63) - 1  # bytes of a file
_AT_ONCE = 64 * MIB  # bytes of data, unpacked, of one record: no frame has more
_EXCHANGE = 1
_TYPES = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK}


class Operations:
    """Carries out records."""

    def __init__(self, names: Namespace, sources: Sources, scratch: Scratch, expand: Expand) -> None:
        self._names = names
        self._sources = sources
        self._scratch = scratch
        self._expand = expand
        self._known: dict[int, Callable[[LogRecord], Item | None]] = {
            Operation.WRITE: self._write,
            Operation.TRUNCATE: self._truncate,
            Operation.CREATE: self._create,
            Operation.LINK: self._link,
            Operation.UNLINK: self._unlink,
            Operation.RENAME: self._rename,
            Operation.MODE: self._attributes,
            Operation.OWNER: self._attributes,
            Operation.TIMES: self._attributes,
            Operation.XATTR: self._xattr,
            Operation.FLAGS: self._flags,
            Operation.MARK: lambda _: None,
        }

    def carry_out(self, record: LogRecord) -> None:
        """Carry out one record. Raises Damaged when it cannot be, Unsupported when it is of an unknown kind."""
        act = self._known.get(record.operation)
        if act is None or not 0 <= record.form <= Form.ZEROS:
            hint = "a newer knowngood may know it"
            raise Unsupported(f"its operation {record.operation} or form {record.form} is unknown", hint=hint)
        item = act(record)
        if item is not None:
            item.changed = True
            item.entry.ctime_ns = 0  # not known, unless the row says it
            if record.row:
                _apply_row(item.entry, record.row)

    # ------------------------------------------------------------------------------------------------------ content

    def _write(self, record: LogRecord) -> Item:
        item = self._file(record.path)
        self._lay(item, record)
        return item

    def _file(self, key: bytes) -> Item:
        item = self._names.find(key)
        if item.pieces is None:
            if not item.entry.is_file:
                raise Damaged("what it writes to is no regular file")
            entry = item.entry
            item.pieces = Pieces(entry.at(entry.directory, entry.name), self._sources, self._scratch)
        return item

    def _lay(self, item: Item, record: LogRecord) -> None:
        pieces = item.pieces
        assert pieces is not None
        start, length, form, data = record.offset, record.length, record.form, record.data
        end = start + length
        _expect(0 <= start <= end <= _LARGEST, "it reaches beyond the end of any file")
        _expect(length <= _AT_ONCE or form == Form.ZEROS, "it writes more than one record can")
        if form == Form.BYTES:
            _expect(len(data) == length, "its data is not as long as it says")
            if length:
                pieces.lay(start, end, self._scratch.put(data))
        elif form == Form.DELTA:
            new = _xor(self._expand(data, length), pieces.read(start, end))
            if length:
                pieces.lay(start, end, self._scratch.put(new))
        elif form == Form.CHUNK:
            _expect(len(data) == NAME_BYTES, "it names no chunk")
            if length:
                pieces.lay(start, end, Chunk(data, length))
        else:
            _expect(form == Form.ZEROS or not length, "it brings no data")
            if length:
                pieces.zero(start, end)
        item.entry.size = pieces.size

    def _truncate(self, record: LogRecord) -> Item:
        item = self._file(record.path)
        _expect(0 <= record.length <= _LARGEST, "no file is as long as that")
        assert item.pieces is not None
        item.pieces.truncate(record.length)
        item.entry.size = record.length
        return item

    # -------------------------------------------------------------------------------------------------------- names

    def _create(self, record: LogRecord) -> Item:
        folder, name = self._new_place(record.path)
        directory = place_of(record.path)[0]
        file_system = self._names.file_system(directory)
        if len(record.row) != ROW.size:
            raise Damaged("it creates something without saying what")
        extra = Extra(rdev=record.value) if record.value else NO_EXTRA
        entry = Entry.of(directory, name, record.row, file_system, int(Content.NONE), extra=extra)
        mode = entry.mode
        _expect(stat.S_IFMT(mode) in _TYPES, "it creates something of an unknown type")
        entry.size, entry.links = 0, 0 if stat.S_ISDIR(mode) else 1
        item = Item(entry)
        if stat.S_ISREG(mode):
            item.pieces = Pieces(None, self._sources, self._scratch)
            self._lay(item, record)
        elif stat.S_ISLNK(mode):
            _expect(record.form == Form.BYTES and bool(record.data), "it makes a symlink to nothing")
            entry.content, entry.inline, entry.size = int(Content.INLINE), record.data, len(record.data)
        elif stat.S_ISDIR(mode):
            item.folder = Folder(None, file_system=file_system)
        self._names.bind(folder, name, item)
        return item

    def _link(self, record: LogRecord) -> Item:
        item = self._names.find(record.second)
        _expect(not item.entry.is_directory, "it links a directory")
        self._names.bind(*self._new_place(record.path), item)
        item.entry.links += 1
        return item

    def _unlink(self, record: LogRecord) -> Item:
        item = self._names.find(record.path)
        self._drop(record.path, item)
        return item

    def _drop(self, key: bytes, item: Item) -> None:
        """A name goes: of a file, or of an empty directory."""
        _expect(bool(key), "it removes the root")
        directory, name = place_of(key)
        if item.folder is None:
            item.entry.links -= 1
        else:
            _expect(self._names.is_empty(item.folder), "it removes a directory that is not empty")
        item.changed = True
        item.entry.ctime_ns = 0
        self._names.bind(self._names.folder(directory), name, None)

    def _rename(self, record: LogRecord) -> Item:
        old, new = record.path, record.second
        item = self._names.find(old)
        _expect(bool(old), "it renames the root")
        directory, name = place_of(new)
        _check_name(name)
        other = self._names.item(self._names.folder(directory), name)
        if record.value not in (0, _EXCHANGE):
            raise Unsupported(f"it renames in the unknown way {record.value}")
        if other is item:
            return item  # two names of one file: then both stay
        _expect(not new.startswith(old + b"\0"), "it moves a directory into itself")
        if record.value == _EXCHANGE:
            _expect(other is not None and not old.startswith(new + b"\0"), "it exchanges what cannot be")
        elif other is not None:
            _expect((item.folder is None) == (other.folder is None), "a file and a directory take each other's place")
            self._drop(new, other)
        from_directory, from_name = place_of(old)
        target, origin = self._names.folder(directory), self._names.folder(from_directory)
        self._names.bind(target, name, item)
        self._names.bind(origin, from_name, other if record.value == _EXCHANGE else None)
        if record.value == _EXCHANGE and other is not None:
            other.changed = True
            other.entry.ctime_ns = 0
        return item

    def _new_place(self, key: bytes) -> tuple[Folder, bytes]:
        """Where something new comes."""
        directory, name = place_of(key)
        _check_name(name)
        folder = self._names.folder(directory)
        _expect(self._names.item(folder, name) is None, "there is something under its path already")
        return folder, name

    # --------------------------------------------------------------------------------------------------- attributes

    def _attributes(self, record: LogRecord) -> Item:
        _expect(bool(record.row), "it changes attributes without saying to what")
        return self._names.find(record.path)

    def _xattr(self, record: LogRecord) -> Item:
        item = self._names.find(record.path)
        attributes = dict(item.entry.extra.xattrs)
        _expect(bool(record.second) and b"\0" not in record.second, "it names no attribute")
        if record.form == Form.BYTES:
            attributes[record.second] = record.data
        else:
            _expect(record.form == Form.NONE, "it brings an attribute in a form that none has")
            _expect(attributes.pop(record.second, None) is not None, "it removes an attribute that is not there")
        _change_extra(item.entry, xattrs=tuple(sorted(attributes.items())))
        return item

    def _flags(self, record: LogRecord) -> Item:
        item = self._names.find(record.path)
        _change_extra(item.entry, flags=record.value)
        return item


def _expect(fine: bool, otherwise: str) -> None:
    if not fine:
        raise Damaged(otherwise)


def _check_name(name: bytes) -> None:
    _expect(name not in (b"", b".", b"..") and b"/" not in name, "it makes a name that no file can have")


def _change_extra(entry: Entry, **changes: object) -> None:
    changed = msgspec.structs.replace(entry.extra, **changes)
    entry.extra = NO_EXTRA if changed == NO_EXTRA else changed


def _xor(one: Buffer, other: Buffer) -> bytes:
    """Bytes that differ between two buffers of the same length. Big numbers are the fastest way there is."""
    return (int.from_bytes(one, "little") ^ int.from_bytes(other, "little")).to_bytes(len(one), "little")


def _apply_row(entry: Entry, row: bytes) -> None:
    """Take over what a row says; what it says of the size must be so already.

    Its links count names outside of the component as well, which come and go unseen.
    """
    if len(row) != ROW.size:
        raise Damaged("its row is cut off")
    mode, uid, gid, links, size, mtime, ctime, inode = ROW.unpack(row)
    _expect(stat.S_IFMT(mode) == stat.S_IFMT(entry.mode), "its row is of another kind of thing")
    _expect(size == entry.size, f"the size should be {size} after it, and is {entry.size}")
    entry.mode, entry.uid, entry.gid, entry.links = mode, uid, gid, links
    entry.mtime_ns, entry.ctime_ns = mtime, ctime
    entry.inode = inode or entry.inode

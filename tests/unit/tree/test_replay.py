"""Replay: where it ends, what it refuses, and what it leaves unread."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, KnowngoodError, NotFound, Unsupported
from knowngood.core.ids import Name
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.sizes import MIB
from knowngood.testing.memory import MemoryPages, MemoryScratch, MemoryVault
from knowngood.tree import content
from knowngood.tree.block import ROW, Content, Entry
from knowngood.tree.read import TreeReader
from knowngood.tree.replay import ChangesLost, Replay, Until
from tests.unit.tree.replaying import FILE, FOLDER, LINK, Model, expand, land, read


@dataclass
class Watched(MemoryPages):
    """Pages that note which chunks were read."""

    vault: MemoryVault
    chunks: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.vault)

    def chunk(self, name: Name) -> Buffer:
        self.chunks.append(name)
        return super().chunk(name)


class Base:
    """A small tree, and replay on it."""

    def __init__(self, *, piece: int = 100) -> None:
        self.model = Model()
        self.vault = MemoryVault()
        for path, mode, data in (
            (b"d", FOLDER, b""),
            (b"d\0f", FILE, b"content"),
            (b"d\0e", FOLDER, b""),
            (b"d\0e\0g", FILE, bytes(range(1, 200))),
            (b"s", LINK, b"to"),
            (b"f", FILE, Random(1).randbytes(3000)),
        ):
            self.model.create(path, mode, data)
        self.model.link(b"d\0e\0linked", b"d\0f")
        self.piece = piece
        self.begin()

    def begin(self) -> None:
        self.pages = Watched(self.vault)
        self.root = land(self.model, self.vault, piece=self.piece)
        self.scratch = MemoryScratch()
        self.replay = Replay(self.root, self.pages, self.scratch, expand, self.model.sequence)

    def check(self) -> None:
        assert read(*self.replay.state()) == self.model.shown()


@pytest.fixture
def base() -> Base:
    return Base()


def test_without_records_nothing_changes(base: Base) -> None:
    root, source = base.replay.state()
    assert root == base.root
    assert not source.made(root)


# ------------------------------------------------------------------------------------------------- where it ends


def history(base: Base) -> tuple[list[LogRecord], list[dict[bytes, tuple]]]:
    """Four records, the third a mark, and the state before each of them and at the end."""
    records: list[LogRecord] = []
    states = [base.model.shown()]
    for act in (
        lambda: base.model.write(b"f", 10, b"one", Form.BYTES),
        lambda: base.model.write(b"f", 20, b"two", Form.BYTES),
        lambda: base.model.mark(b"m" * 16),
        lambda: base.model.unlink(b"s"),
    ):
        records.append(act())
        states.append(base.model.shown())
    return records, states


@pytest.mark.parametrize("kept", range(5))
def test_it_ends_before_the_first_record_beyond_the_target(base: Base, kept: int) -> None:
    records, states = history(base)
    first = records[0].sequence
    base.replay.run(records, Until(sequence=first + kept))
    assert base.replay.sequence == first + kept
    assert read(*base.replay.state()) == states[kept]
    if kept:
        again = Base().replay
        again.run(records, Until(time_ns=records[kept - 1].time_ns))
        assert read(*again.state()) == states[kept]
        assert again.time_ns == records[kept - 1].time_ns


def test_it_ends_at_a_mark(base: Base) -> None:
    records, states = history(base)
    base.replay.run(records, Until(mark=b"m" * 16))
    assert read(*base.replay.state()) == states[3]


@pytest.mark.parametrize("until", [Until(mark=b"x" * 16), Until(sequence=1000)], ids=str)
def test_a_target_that_the_log_does_not_reach_is_told(base: Base, until: Until) -> None:
    records, _ = history(base)
    with pytest.raises(NotFound):
        base.replay.run(records, until)


def test_no_gap_is_passed(base: Base) -> None:
    """Nor is a moment believed that lies before a gap was noted, and after the last record before it."""
    records, states = history(base)
    gap = LogRecord(sequence=records[2].sequence, time_ns=records[2].time_ns, operation=Operation.GAP, value=1)
    with_gap = [*records[:2], gap, records[3]]
    for until in (Until(), Until(time_ns=gap.time_ns), Until(time_ns=gap.time_ns - 1), Until(mark=b"m" * 16)):
        replay = Base().replay
        with pytest.raises(ChangesLost) as lost:
            replay.run(with_gap, until)
        assert lost.value.sequence == gap.sequence
        assert read(*replay.state()) == states[2]
    base.replay.run(with_gap, Until(time_ns=records[0].time_ns))
    assert read(*base.replay.state()) == states[1]
    again = Base().replay
    again.run(with_gap, Until(sequence=gap.sequence))
    assert read(*again.state()) == states[2]


def test_no_record_is_left_out_or_repeated(base: Base) -> None:
    records, _ = history(base)
    with pytest.raises(ChangesLost):
        base.replay.run(records[1:])
    base.replay.run(records[:1])
    with pytest.raises(Damaged):
        base.replay.run(records[:1])


# ------------------------------------------------------------------------------------------------ what it refuses

_ROW = ROW.pack(FILE, 0, 0, 1, 0, 1, 2, 99)
_REFUSED = [
    ("unknown operation", {"operation": 14}, Unsupported),
    ("unknown form", {"operation": Operation.WRITE, "path": b"f", "form": 9}, Unsupported),
    ("unknown way to rename", {"operation": Operation.RENAME, "path": b"f", "second": b"g", "value": 2}, Unsupported),
    ("no such file", {"operation": Operation.WRITE, "path": b"x"}, Damaged),
    ("no such directory", {"operation": Operation.CREATE, "path": b"x\0y", "row": _ROW}, Damaged),
    ("below a file", {"operation": Operation.CREATE, "path": b"f\0y", "row": _ROW}, Damaged),
    ("write to a directory", {"operation": Operation.WRITE, "path": b"d"}, Damaged),
    ("truncate a symlink", {"operation": Operation.TRUNCATE, "path": b"s"}, Damaged),
    ("data too short", {"operation": Operation.WRITE, "path": b"f", "form": 1, "length": 3, "data": b"xx"}, Damaged),
    ("no data", {"operation": Operation.WRITE, "path": b"f", "length": 3}, Damaged),
    ("half a name", {"operation": Operation.WRITE, "path": b"f", "form": 3, "length": 3, "data": b"xx"}, Damaged),
    ("no zstd", {"operation": Operation.WRITE, "path": b"f", "form": 2, "length": 3, "data": b"xx"}, Damaged),
    ("too far", {"operation": Operation.WRITE, "path": b"f", "form": 4, "length": 1, "offset": 1 << 63}, Damaged),
    ("too much", {"operation": Operation.WRITE, "path": b"f", "form": 3, "length": 1 << 40}, Damaged),
    ("too long", {"operation": Operation.TRUNCATE, "path": b"f", "length": 1 << 63}, Damaged),
    ("create over", {"operation": Operation.CREATE, "path": b"f", "row": _ROW}, Damaged),
    ("create the root", {"operation": Operation.CREATE, "path": b"", "row": _ROW}, Damaged),
    ("create without row", {"operation": Operation.CREATE, "path": b"x"}, Damaged),
    ("create nothing known", {"operation": Operation.CREATE, "path": b"x", "row": bytes(48)}, Damaged),
    ("climb out", {"operation": Operation.CREATE, "path": b"d\0..", "row": _ROW}, Damaged),
    ("hide a path in a name", {"operation": Operation.RENAME, "path": b"f", "second": b"a/b"}, Damaged),
    ("link a directory", {"operation": Operation.LINK, "path": b"x", "second": b"d"}, Damaged),
    ("link over", {"operation": Operation.LINK, "path": b"s", "second": b"f"}, Damaged),
    ("unlink what is full", {"operation": Operation.UNLINK, "path": b"d"}, Damaged),
    ("unlink the root", {"operation": Operation.UNLINK, "path": b""}, Damaged),
    ("rename the root", {"operation": Operation.RENAME, "path": b"", "second": b"x"}, Damaged),
    ("rename into itself", {"operation": Operation.RENAME, "path": b"d", "second": b"d\0e\0x"}, Damaged),
    ("rename over what is full", {"operation": Operation.RENAME, "path": b"d\0e", "second": b"d"}, Damaged),
    ("rename a file over a directory", {"operation": Operation.RENAME, "path": b"f", "second": b"d"}, Damaged),
    ("exchange with nothing", {"operation": Operation.RENAME, "path": b"f", "second": b"x", "value": 1}, Damaged),
    ("exchange upwards", {"operation": Operation.RENAME, "path": b"d\0e", "second": b"d", "value": 1}, Damaged),
    ("mode without row", {"operation": Operation.MODE, "path": b"f"}, Damaged),
    ("other size", {"operation": Operation.MODE, "path": b"f", "row": _ROW}, Damaged),
    ("other kind", {"operation": Operation.MODE, "path": b"d", "row": _ROW}, Damaged),
    ("half a row", {"operation": Operation.MODE, "path": b"f", "row": b"x"}, Damaged),
    ("remove no attribute", {"operation": Operation.XATTR, "path": b"f", "second": b"user.x"}, Damaged),
    ("no attribute's name", {"operation": Operation.XATTR, "path": b"f", "form": 1}, Damaged),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "error"), [each[1:] for each in _REFUSED], ids=[each[0] for each in _REFUSED])
def test_what_cannot_be_is_refused(base: Base, fields: dict, error: type[KnowngoodError]) -> None:
    record = LogRecord(sequence=base.model.sequence, time_ns=1, **fields)
    with pytest.raises(error) as refused:
        base.replay.apply(record)
    assert refused.value.message.startswith(f"record {record.sequence} of the log: ")


def test_names_elsewhere_count(base: Base) -> None:
    """How many names a file has is said by rows: those outside of the component come and go unseen."""
    row = ROW.pack(FILE, 0, 0, 3, len(b"content"), 1, 2, base.model.nodes[b"d\0f"].inode)
    record = LogRecord(sequence=base.model.sequence, time_ns=1, operation=Operation.MODE, path=b"d\0f", row=row)
    base.replay.apply(record)
    root, source = base.replay.state()
    assert TreeReader(root, source.page).lookup(b"d/f").links == 3


def test_two_files_of_one_inode_do_not_become_one(base: Base) -> None:
    """Recovery ties names of one inode together."""
    for path in (b"x", b"y"):
        record = base.model.create(path, FILE, path)
        base.replay.apply(msgspec.structs.replace(record, row=_row_with_inode(record.row, 77)))
        record = base.model.link(path + b"2", path)
        base.replay.apply(msgspec.structs.replace(record, row=_row_with_inode(record.row, 77)))
    with pytest.raises(Damaged, match="same inode"):
        base.replay.state()


def _row_with_inode(row: bytes, inode: int) -> bytes:
    return ROW.pack(*ROW.unpack(row)[:-1], inode)


# --------------------------------------------------------------------------------------------- what it leaves unread


def test_chunks_that_are_whole_keep_their_names(base: Base) -> None:
    before = TreeReader(base.root, base.pages.page).lookup(b"f").names()
    base.replay.apply(base.model.write(b"f", 1050, b"changed", Form.BYTES))
    base.replay.apply(base.model.rename(b"f", b"d\0moved"))
    root, source = base.replay.state()
    after = TreeReader(root, source.page).lookup(b"d/moved").names()
    assert [name for name in after if not source.made(name)] == [*before[:10], *before[11:]]
    assert len(after) == len(before)
    assert base.pages.chunks == []
    base.check()


def test_list_pages_that_are_whole_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "DIRECT_CHUNKS", 10)
    monkeypatch.setattr(content, "_PAGE_CHUNKS", 500)
    base = Base(piece=1)
    entry = TreeReader(base.root, base.pages.page).lookup(b"f")
    assert entry.content == Content.LIST
    assert len(entry.names()) > 1
    base.replay.apply(base.model.write(b"f", 2995, b"end", Form.BYTES))
    root, source = base.replay.state()
    after = TreeReader(root, source.page).lookup(b"f").names()
    assert after[0] == entry.names()[0]
    base.check()


def test_a_directory_moves_with_all_below_it(base: Base) -> None:
    base.replay.apply(base.model.rename(b"d", b"new"))
    base.replay.apply(base.model.create(b"d", FOLDER))
    base.replay.apply(base.model.rename(b"new\0e", b"d\0e"))
    base.replay.state()
    assert base.pages.chunks == []
    base.check()


def test_all_names_of_a_file_change_wherever_they_are_now(base: Base) -> None:
    """The record knows one name; the others lie in a directory that moved, of which nothing was touched."""
    base.replay.apply(base.model.rename(b"d\0e", b"moved"))
    base.replay.apply(base.model.write(b"d\0f", 0, b"CON", Form.BYTES))
    base.check()
    base.replay.apply(base.model.unlink(b"moved\0linked"))
    base.check()


def test_a_chunk_of_the_vault_is_taken_by_name(base: Base) -> None:
    base.replay.apply(base.model.write(b"f", 0, b"x" * 4000, Form.CHUNK, base.vault))
    root, source = base.replay.state()
    entry = TreeReader(root, source.page).lookup(b"f")
    assert entry.refs == base.vault.namer.chunk(b"x" * 4000)
    assert base.pages.chunks == []


def test_large_content_is_made_in_bounded_chunks(base: Base) -> None:
    data = Random(3).randbytes(11 * MIB)
    base.replay.apply(base.model.write(b"f", 1_000_000, data, Form.BYTES))
    root, source = base.replay.state()
    entry = TreeReader(root, source.page).lookup(b"f")
    assert all(len(source.chunk(Name(name))) <= 4 * MIB for name in entry.names())
    base.check()


def test_a_huge_hole_costs_nothing(base: Base) -> None:
    """Tebibytes of zeros, written and truncated."""
    path = b"f"
    head = {"time_ns": 1, "path": path}
    for number, fields in enumerate(
        (
            {"operation": Operation.TRUNCATE, "length": 1 << 50},
            {"operation": Operation.WRITE, "form": Form.ZEROS, "offset": 100, "length": 1 << 49},
            {"operation": Operation.WRITE, "form": Form.BYTES, "offset": 1 << 49, "length": 3, "data": b"far"},
        )
    ):
        base.replay.apply(LogRecord(sequence=base.model.sequence + number, **head, **fields))
    root, source = base.replay.state()
    entry = TreeReader(root, source.page).lookup(path)
    assert entry.size == 1 << 50
    assert entry.extents() == [(0, 4096), (1 << 49, 4096)]
    assert sum(len(source.chunk(Name(name))) for name in entry.names()) == 8192


# -------------------------------------------------------------------------------------------------------- attributes


def test_a_time_of_change_is_only_believed_from_a_row(base: Base) -> None:
    """Recovery leaves files alone that have this time: a wrong one would keep what should be replaced."""
    record = base.model.write(b"f", 0, b"x", Form.BYTES)
    base.replay.apply(record)
    assert _lookup(base, b"f").ctime_ns == ROW.unpack(record.row)[6]
    base.replay.apply(base.model.write(b"f", 0, b"y", Form.BYTES, row=False))
    assert _lookup(base, b"f").ctime_ns == 0


def _lookup(base: Base, path: bytes) -> Entry:
    root, source = base.replay.state()
    return TreeReader(root, source.page).lookup(path)


def test_everything_else_can_be_made(base: Base) -> None:
    for path, mode, rdev in (
        (b"pipe", stat.S_IFIFO | 0o600, 0),
        (b"disk", stat.S_IFBLK | 0o660, 0x801),
        (b"socket", stat.S_IFSOCK | 0o755, 0),
    ):
        base.replay.apply(base.model.create(path, mode, rdev=rdev))
    base.replay.apply(base.model.attributes(b"", 0o711 * 3))
    base.check()


def test_replay_goes_on_after_a_state(base: Base) -> None:
    """As a mirror does."""
    for number in range(20):
        base.replay.apply(base.model.write(b"f", number * 100, b"%d" % number, Form.BYTES))
        base.check()

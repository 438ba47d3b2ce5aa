"""The past of a component, change by change, without its contents: names, sizes and attributes as replay makes them."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from msgspec.structs import replace

from knowngood.core.buffers import Buffer
from knowngood.core.ids import Name
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.ports import PageSource
from knowngood.flow.moment import Stand
from knowngood.flow.parts import Parts
from knowngood.flow.related import Related
from knowngood.flow.state import Clock, expand
from knowngood.tree.block import ROW
from knowngood.tree.namespace import Item
from knowngood.tree.replay import Replay
from knowngood.vault.log_reader import LogReader

CONTENT = (Operation.WRITE, Operation.TRUNCATE)
ATTRIBUTES = (Operation.MODE, Operation.OWNER, Operation.XATTR, Operation.FLAGS, Operation.TIMES)
NAMES = (Operation.CREATE, Operation.LINK, Operation.UNLINK, Operation.RENAME)


class _Nowhere:
    """A scratch for contents that nobody is going to read."""

    def put(self, data: Buffer) -> int:  # noqa: ARG002 the port has it
        """Let it go."""
        return 0

    def get(self, handle: int, offset: int, length: int) -> bytes:  # noqa: ARG002 the port has them
        """Zeros."""
        return bytes(length)


class Past:
    """Goes through a log from one checkpoint on. Contents are neither read nor kept: each is so many zeros."""

    def __init__(self, stand: Stand, pages: PageSource, parts: Parts, only: Related | None = None) -> None:
        """`only` says which records are carried out, when not all are wanted; the others are passed over."""
        assert stand.position is not None
        checkpoint = stand.checkpoint
        self.clock = Clock(checkpoint.finished_ns)
        self._replay = Replay(Name(checkpoint.root), pages, _Nowhere(), expand, stand.sequence)
        reader = LogReader(parts.vault, parts.catalog, parts.private())
        self._records = reader.records(checkpoint.timeline, stand.position)
        self._ahead: LogRecord | None = None
        self._only = only

    @property
    def sequence(self) -> int:
        """The number of the next record."""
        return self._replay.sequence

    def records(self, before: int | None = None) -> Iterator[LogRecord]:
        """The records that come next, up to before this number. Each is to be applied before the next one is taken.

        Raises NotFound, Damaged, Unsupported where the log breaks.
        """
        while True:
            self._ahead = self._ahead or next(self._records, None)
            if self._ahead is None or (before is not None and self._ahead.sequence >= before):
                return
            record, self._ahead = self._ahead, None
            if self._only is None or self._only.concerns(record):
                yield record
            else:
                self._replay.pass_over(record)
                self.clock.note(record)

    def apply(self, record: LogRecord) -> None:
        """Carry one out. Raises Damaged, Unsupported."""
        self._replay.apply(_light(record))
        self.clock.note(record)

    def find(self, key: bytes) -> Item | None:
        """What is at a key now."""
        return self._replay.find(key)


def _light(record: LogRecord) -> LogRecord:
    """The same change with zeros for content."""
    is_file = record.operation == Operation.WRITE or (
        record.operation == Operation.CREATE and len(record.row) == ROW.size and stat.S_ISREG(ROW.unpack(record.row)[0])
    )
    if not is_file or record.form == Form.NONE:
        return record
    return replace(record, form=Form.ZEROS, data=b"")

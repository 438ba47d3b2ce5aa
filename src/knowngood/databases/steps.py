"""What happens to the files of an image while a database is followed, and the log records that say so."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.sizes import MIB
from knowngood.tree.block import ROW

_AT_ONCE = MIB  # bytes of one record


@dataclass(frozen=True, slots=True)
class Begin:
    """A new file: empty, or `size` bytes long without data. The path is joined by `/`."""

    path: bytes
    size: int = 0


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset: anywhere in a file whose pages change in place. In one that only grows they begin where it
    ends, or earlier when they come again."""

    path: bytes
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """Another length of a file whose pages change in place. Bytes."""

    path: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What came since the last one belongs together; what follows is later, by a nanosecond at least."""


@dataclass(frozen=True, slots=True)
class Drop:
    """A file goes."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Settle:
    """A file grows no more."""

    path: bytes


Step = Begin | Write | Resize | Commit | Settle | Drop


def records(steps: Iterable[Step], owner: tuple[int, int], first: int, time_ns: int) -> list[LogRecord]:
    """Steps as records of a log, numbered from `first`."""
    made: list[LogRecord] = []
    for step in steps:
        if isinstance(step, Commit):
            time_ns += 1
        number = first + len(made)
        made += [replace(each, sequence=number + at) for at, each in enumerate(_records(step, owner, time_ns))]
    return made


def _records(step: Step, owner: tuple[int, int], time_ns: int) -> Iterator[LogRecord]:
    if isinstance(step, (Settle, Commit)):
        return
    record = partial(LogRecord, sequence=0, time_ns=time_ns, path=step.path.replace(b"/", b"\0"))
    if isinstance(step, Begin):
        row = ROW.pack(stat.S_IFREG | 0o600, *owner, 1, 0, time_ns, 0, 0)
        yield record(operation=Operation.CREATE, row=row)
        if step.size:
            yield record(operation=Operation.TRUNCATE, length=step.size)
    elif isinstance(step, Resize):
        yield record(operation=Operation.TRUNCATE, length=step.size)
    elif isinstance(step, Drop):
        yield record(operation=Operation.UNLINK)
    else:
        for at in range(0, len(step.data), _AT_ONCE):
            data = step.data[at : at + _AT_ONCE]
            offset = step.offset + at
            yield record(operation=Operation.WRITE, offset=offset, length=len(data), form=Form.BYTES, data=data)

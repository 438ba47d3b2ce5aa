"""What recoveries in place have replaced and kept: where it lies, and how it is let go.

A home remembers it when it comes about. Only what is still the very thing that was kept then is listed, and removed.
"""

from __future__ import annotations

import contextlib
import os
import stat

import msgspec

from knowngood.control.files import mapped, read_bounded, write_durably
from knowngood.control.home import Home
from knowngood.core.errors import NotFound
from knowngood.core.instants import now_ns
from knowngood.databases.switch import remove
from knowngood.vault.durable import sync_folder

_MOST_BYTES = 1 << 20
_MOST = 1000
_ENDS = ("-wal", "-journal", "-shm")  # what SQLite keeps beside its file


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. Device and inode tell it from what took its name later."""

    service: str
    component: str
    path: str
    device: int
    inode: int
    since_ns: int


_decoder = msgspec.json.Decoder(tuple[Former, ...])


def note_former(home: Home, service: str, component: str, path: str) -> None:
    """Remember what a recovery has kept. Raises KnowngoodError when the home cannot be read or written."""
    try:
        found = os.lstat(path)
    except OSError as wrong:
        raise mapped(wrong, path, "look at") from wrong
    new = Former(
        service=service, component=component, path=path, device=found.st_dev, inode=found.st_ino, since_ns=now_ns()
    )
    _write(home, (*(each for each in list_former(home) if each.path != path), new))


def list_former(home: Home) -> tuple[Former, ...]:
    """Those that are still there, the oldest first. Raises KnowngoodError."""
    try:
        known = _decoder.decode(read_bounded(home.replaced, _MOST_BYTES))
    except (NotFound, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # there is none yet, or it is damaged
        return ()
    return tuple(each for each in known if _is_there(each))


def bytes_of(one: Former) -> int:
    """How much room it takes on its disk."""
    total = 0
    for path in _paths(one):
        with contextlib.suppress(OSError):
            total += os.lstat(path).st_blocks * 512
    for folder, names, files in os.walk(one.path):
        for name in (*names, *files):
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total


def drop_former(home: Home, one: Former) -> None:
    """Remove it for good. Raises KnowngoodError; what is left then is still listed."""
    if _is_there(one):
        for path in (*_paths(one)[1:], one.path):
            remove(path)
        with contextlib.suppress(OSError):  # gone for now; after a power cut it may be listed again
            sync_folder(os.path.dirname(one.path))
    _write(home, tuple(each for each in list_former(home) if each != one))


def _paths(one: Former) -> tuple[str, ...]:
    """Itself, and the files that belong to one that is a single file."""
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.lstat(one.path).st_mode):
            return (one.path, *(one.path + end for end in _ENDS if os.path.lexists(one.path + end)))
    return (one.path,)


def _is_there(one: Former) -> bool:
    try:
        found = os.lstat(one.path)
    except FileNotFoundError:
        return False
    except OSError as wrong:
        raise mapped(wrong, one.path, "look at") from wrong
    return (found.st_dev, found.st_ino) == (one.device, one.inode)


def _write(home: Home, known: tuple[Former, ...]) -> None:
    write_durably(home.replaced, msgspec.json.encode(known[-_MOST:]))

"""Files that survive a power cut: written whole under another name, made durable, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os

from knowngood.core.errors import Exists, KnowngoodError, NoSpace, NotFound, UsageError
from knowngood.vault.durable import sync_folder

UNFINISHED = ".new"
"""How the name of a file that was never finished ends; its name also begins with a dot."""


def mapped(wrong: OSError, path: str, doing: str) -> KnowngoodError:
    """What the operating system reported, as an error of ours."""
    message = f"cannot {doing} {path}: {wrong.strerror or wrong}"
    if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(message, hint="make room on that file system, then run the command again")
    if wrong.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(message)
    if wrong.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return KnowngoodError(message, hint="run as the owner of that folder, or name another one with --home")
    return KnowngoodError(message)


def make_folder(path: str, mode: int = 0o700) -> None:
    """Create a folder and those above it that are missing, durably; no error when it is there."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        above = os.path.dirname(path)
        if above == path:
            break
        path = above
    _settle(path)
    for each in reversed(missing):
        try:
            os.mkdir(each, mode)
        except FileExistsError:
            if not os.path.isdir(each):
                raise UsageError(f"{each} is a file; a folder is needed there") from None
        except OSError as wrong:
            raise mapped(wrong, each, "create the folder") from wrong
        else:
            sync_folder(os.path.dirname(each))


def _settle(folder: str) -> None:
    """A process that was killed may have made this folder, and not made it durable. Where we may not look into the one
    above, or nothing can be written, it was not one of ours."""
    try:
        sync_folder(os.path.dirname(folder))
    except OSError as wrong:
        if wrong.errno not in (errno.EACCES, errno.EROFS, errno.EINVAL, errno.ENOENT):
            raise mapped(wrong, folder, "make sure of the folder") from wrong


def write_durably(path: str, data: bytes, *, mode: int = 0o600, replace: bool = True) -> None:
    """Write a file whole or not at all; when this returns, it survives a power cut.

    With `replace=False` a file that is already there is left alone, and Exists is raised.
    """
    folder, name = os.path.split(path)
    unfinished = os.path.join(folder, f".{name}.{os.urandom(4).hex()}{UNFINISHED}")
    try:
        _write_new(unfinished, data, mode)
        if replace:
            os.rename(unfinished, path)
        else:
            os.link(unfinished, path)
            os.unlink(unfinished)
        sync_folder(folder)
    except FileExistsError:
        _forget(unfinished)
        raise Exists(f"{path} is already there") from None
    except OSError as wrong:
        _forget(unfinished)
        raise mapped(wrong, path, "write") from wrong
    except BaseException:
        _forget(unfinished)
        raise


def _write_new(path: str, data: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(path, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask says
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _forget(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def sweep(folder: str) -> None:
    """Remove what a power cut left unfinished. Only for whoever holds the lock of the home."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.startswith(".") and name.endswith(UNFINISHED):
                _forget(os.path.join(folder, name))


def move_durably(path: str, where: str) -> None:
    """Rename a file; both folders are durable when this returns."""
    try:
        os.rename(path, where)
        sync_folder(os.path.dirname(where))
        sync_folder(os.path.dirname(path))
    except OSError as wrong:
        raise mapped(wrong, path, "move") from wrong


def copy_durably(path: str, where: str) -> None:
    """Copy a small private file; the copy is durable when this returns."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as wrong:
        raise mapped(wrong, path, "read") from wrong
    write_durably(where, data)


def read_bounded(path: str, limit: int) -> bytes:
    """A whole file of at most `limit` bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError as wrong:
        raise mapped(wrong, path, "read") from wrong
    if len(data) > limit:
        raise UsageError(f"{path} is larger than {limit >> 10} KiB", hint="split it, or remove what it does not need")
    return data

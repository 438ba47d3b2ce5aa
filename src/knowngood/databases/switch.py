"""The switch: a new thing takes the place of an old one at one instant, and the old one is kept beside it.

The new one is first given a name with its own inode number in it. The two names change places then, and the old one is
given the name under which it is kept. Whatever is found under the first name after a crash tells by its inode number
what it is: the new one, that never came to its place, or the old one, that is to be kept.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil

from knowngood.core.errors import KnowngoodError, Unsupported
from knowngood.linux.beneath import EXCHANGE, rename_beneath
from knowngood.linux.calls import checked, libc
from knowngood.vault.durable import sync_folder

_NO_REPLACE = 1  # RENAME_NOREPLACE
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EBUSY)


def building(live: str) -> str:
    """Where the new thing is made: beside the old one, on the same file system."""
    folder, name = os.path.split(live)
    return os.path.join(folder, f".{name}.knowngood")


def former(live: str) -> str:
    """The name under which the old thing is kept; no such thing is ever replaced."""
    found, number = f"{live}.former", 1
    while os.path.lexists(found):
        number += 1
        found = f"{live}.former-{number}"
    return found


def settle(live: str) -> str:
    """Bring to its end what a switch that was interrupted has left. The path of the old thing, when it has one now."""
    kept, folder = "", os.path.dirname(live)
    pattern = re.compile(re.escape(os.path.basename(building(live))) + r"-(\d+)")
    for name in os.listdir(folder):
        if found := pattern.fullmatch(name):
            path = os.path.join(folder, name)
            if os.lstat(path).st_ino == int(found[1]):
                remove(path)
            else:
                kept = former(live)
                os.rename(path, kept)
                sync_folder(folder)
    return kept


def switch(new: str, live: str) -> str:
    """Put a new thing in the place of what is there. Where the old one is kept; empty when there was none.

    All of the new one is on stable storage before. Raises Unsupported where the file system cannot exchange two names;
    everything is as it was then. Raises OSError.
    """
    folder = os.path.dirname(live)
    aside = f"{building(live)}-{os.lstat(new).st_ino}"
    _sync_all(new)
    os.rename(new, aside)
    sync_folder(folder)
    flags = EXCHANGE if os.path.lexists(live) else _NO_REPLACE
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        rename_beneath(fd, os.fsencode(os.path.basename(aside)), fd, os.fsencode(os.path.basename(live)), flags)
        os.fsync(fd)
    except OSError as wrong:
        os.rename(aside, new)
        if wrong.errno not in _CANNOT:
            raise
        hint = "recover beside, with --to FOLDER, and put it in its place by hand"
        raise Unsupported(f"the file system of {folder} cannot let two names change places", hint=hint) from None
    finally:
        os.close(fd)
    if flags != EXCHANGE:
        return ""
    kept = former(live)
    os.rename(aside, kept)
    sync_folder(folder)
    return kept


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it; no error when it is not there. Raises KnowngoodError."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    except OSError as wrong:
        raise KnowngoodError(f"{path} cannot be removed: {os.strerror(wrong.errno or 0).lower()}") from None


def _sync_all(path: str) -> None:
    """All of its file system: one call, however many files a server has written."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        checked(libc.syncfs(fd))
    finally:
        os.close(fd)

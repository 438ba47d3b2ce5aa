"""A private folder for what is recovered and thrown away again. The home knows of it, so that what a killed run left
is found: an entry with the folder's path, locked by the process that uses it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from knowngood.core.errors import KnowngoodError, NoSpace
from knowngood.core.sizes import bytes_text
from knowngood.linux.processes import end_those_in

PREFIX = "knowngood-sandbox-"
_USUAL = "/var/tmp"  # noqa: S108 - only names that cannot be guessed are made there; it is on a disk
_SPARE = 1.05
_PATH_BYTES = 4096


@contextlib.contextmanager
def private_folder(registry: str, needed_bytes: int) -> Iterator[str]:
    """A new folder with room for so many bytes; all of it goes at the end, and whoever works in it is ended.

    Raises NoSpace when there is less room. Others may pass through it, as servers run as users of their own.
    """
    clear_leftovers(registry)
    base = _base()
    free = shutil.disk_usage(base).free
    if free < needed_bytes * _SPARE:
        raise NoSpace(
            f"{base} has {bytes_text(free)} free, and {bytes_text(needed_bytes)} are to be recovered",
            hint="free some room there, or name another folder in TMPDIR",
        )
    name = secrets.token_hex(8)
    folder, entry = os.path.join(base, PREFIX + name), os.path.join(registry, name)
    try:
        os.makedirs(registry, mode=0o700, exist_ok=True)
        hidden = os.path.join(registry, "." + name)
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # before anybody can see it
        os.write(fd, os.fsencode(folder))
        os.rename(hidden, entry)
        os.mkdir(folder, 0o711)
        os.chmod(folder, 0o711)  # noqa: S103 names below cannot be guessed or listed, and are private themselves
    except OSError as wrong:
        raise KnowngoodError(
            f"no private folder can be made: {os.strerror(wrong.errno or 0).lower()}: {folder}"
        ) from None
    try:
        yield folder
    finally:
        _remove(folder)
        with contextlib.suppress(OSError):
            os.unlink(entry)
        os.close(fd)


def _base() -> str:
    return tempfile.gettempdir() if "TMPDIR" in os.environ or not os.path.isdir(_USUAL) else _USUAL


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a run that did not end itself has left. `entry` is where the home knows of it."""

    entry: str
    folder: str


def leftovers(registry: str) -> list[Leftover]:
    """What nobody uses any more."""
    found: list[Leftover] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(each for each in os.listdir(registry) if each[0] != "."):
            entry = os.path.join(registry, name)
            with contextlib.suppress(OSError), _unlocked(entry) as folder:
                found.append(Leftover(entry, folder))
    return found


def clear_leftovers(registry: str) -> int:
    """End and remove what nobody uses any more. How many folders there were."""
    found = leftovers(registry)
    for each in found:
        with contextlib.suppress(OSError), _unlocked(each.entry) as folder:
            if _is_ours(folder):
                _remove(folder)
            os.unlink(each.entry)
    return len(found)


@contextlib.contextmanager
def _unlocked(entry: str) -> Iterator[str]:
    """The folder of an entry that nobody has locked. Raises OSError when somebody has."""
    fd = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield os.fsdecode(os.read(fd, _PATH_BYTES))
    finally:
        os.close(fd)


def _is_ours(folder: str) -> bool:
    """Whether such a path can only be one that was made here: nothing else is ever removed."""
    if not os.path.basename(folder).startswith(PREFIX) or not os.path.isabs(folder):
        return False
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _remove(folder: str) -> None:
    end_those_in(folder)
    if os.geteuid() != 0:  # folders of a component may have been read-only
        for where, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                os.chmod(where, 0o700)
    shutil.rmtree(folder, ignore_errors=True)

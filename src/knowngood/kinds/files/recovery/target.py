"""The target of a recovery: opened or made, kept from others, marked while what it holds is not whole."""

from __future__ import annotations

import os
import stat

from knowngood.core.errors import KnowngoodError, NoSpace, NotFound, UsageError
from knowngood.core.ports import RecoveryPlan, RecoveryRequest
from knowngood.core.sizes import bytes_text
from knowngood.kinds.files.exclude import is_vault
from knowngood.kinds.files.recovery.extras import is_empty
from knowngood.kinds.files.recovery.place import CLOSED, Folder
from knowngood.kinds.files.recovery.selection import Selection
from knowngood.kinds.files.recovery.shared import MARKER, Site, raise_if_final, said
from knowngood.kinds.files.spill import NameSet
from knowngood.kinds.files.syscalls import lock_folder, may_compress
from knowngood.tree.read import TreeReader

_OPEN = os.O_RDONLY | os.O_DIRECTORY
_NOTE = b"""A recovery into this folder has not ended yet: files may be missing or cut off.
Run the same recovery again to finish it; it writes only what is missing or differs.
"""


def target_of(request: RecoveryRequest, selection: Selection) -> str:
    """The folder to recover into. A component that is a single file returns to where it was through its folder."""
    target = os.path.abspath(request.target)
    if selection.is_file and target == os.path.abspath(request.checkpoint.source):
        return os.path.dirname(target)
    return target


def look(path: str) -> int:
    """Open a target only to look at it; CLOSED when it is not there. Raises UsageError, KnowngoodError."""
    try:
        fd = os.open(path, _OPEN)
    except FileNotFoundError:
        return CLOSED
    except NotADirectoryError:
        raise UsageError(f"{path} is not a folder", hint="name a folder with --to") from None
    except OSError as wrong:
        raise KnowngoodError(f"cannot open {path}: {said(wrong)}") from None
    if is_vault(fd):
        os.close(fd)
        raise UsageError(f"{path} is a vault", hint="name another folder with --to")
    return fd


def open_root(path: str, selection: Selection) -> Folder:
    """Open the target, and make it first when it is not there. A symlink that the user gives is followed.

    Raises UsageError, KnowngoodError, Busy.
    """
    fd = look(path)
    made = fd == CLOSED
    if made:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mkdir(path, 0o777 if selection.is_file else 0o700)
        except OSError as wrong:
            raise_if_final(wrong, path)
            raise KnowngoodError(f"cannot make {path}: {said(wrong)}") from None
        fd = look(path)
    root = Folder(b"", fd, selection.root, whole=selection.is_whole and not selection.is_file, fresh=made)
    root.identify(os.fstat(fd))
    try:
        lock_folder(fd, path)
    except BaseException:
        root.close()
        raise
    return root


def check_room(plan: RecoveryPlan, root: Folder, path: str) -> None:
    """Raises NoSpace when what is to be written clearly does not fit. Replaced files may make room: then try."""
    if plan.rewrite:
        return
    room = os.fstatvfs(root.fd)
    free = room.f_frsize * (room.f_bavail if os.geteuid() else room.f_bfree)
    if plan.write_bytes > free * (4 if may_compress(root.fd) else 1):
        raise NoSpace(
            f"{bytes_text(plan.write_bytes)} do not fit into {path}: {bytes_text(free)} are free",
            hint="free some, or recover to a folder on a larger disk with --to",
        )


def mark(root: Folder, site: Site) -> None:
    """Mark a target that begins empty as unfinished, unless it is marked already; only then names are used directly.

    Otherwise prepare the root for what is in it.
    """
    try:
        unfinished = stat.S_ISREG(os.stat(MARKER, dir_fd=root.fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        unfinished = False
    if not unfinished and (root.fresh or is_empty(root.fd)):
        fd = os.open(MARKER, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=root.fd)
        try:
            os.write(fd, _NOTE)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.fsync(root.fd)
        unfinished = True
    site.direct = unfinished
    if not root.fresh or marked_in(site.reader):
        root.fresh = False
        root.names = NameSet()


def unmark(root: Folder, site: Site) -> None:
    """All of it is there, on stable storage."""
    if not marked_in(site.reader):
        os.unlink(MARKER, dir_fd=root.fd)


def marked_in(reader: TreeReader) -> bool:
    """Whether the checkpoint itself holds an unfinished recovery: then its marker is content like everything else."""
    try:
        reader.lookup(MARKER)
    except NotFound:
        return False
    return True

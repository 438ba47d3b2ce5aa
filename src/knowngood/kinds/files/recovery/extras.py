"""What lies in the target and is not in the checkpoint: counted, and deleted when that was asked for.

Never deleted: what is on another file system or behind a mount, what the component excludes from its checkpoints, and
vaults. Temporary files of an earlier run that was killed always go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from knowngood.core.ports import RecoveryRequest
from knowngood.kinds.files.exclude import Exclusions, is_cache, is_vault
from knowngood.kinds.files.handles import Handles, Moved
from knowngood.kinds.files.recovery.apply import unlock, unlock_named
from knowngood.kinds.files.recovery.place import CLOSED, Folder
from knowngood.kinds.files.recovery.shared import MARKER, InTheWay, Site, said
from knowngood.kinds.files.syscalls import mount_id

_OPEN_LEVELS = 32


@dataclass(slots=True)
class _Level:
    name: bytes
    path: bytes  # below the target, ended by `/`
    folders: list[bytes]  # those still to be looked into
    stays: bool  # something in it is not deleted


class Extras:
    """Finds what is extra in folders of the target. With `site` it deletes, without it only counts."""

    def __init__(self, request: RecoveryRequest, site: Site | None, root: int) -> None:
        """`root` is the target, open; CLOSED when there is none, and so no extras."""
        self._site = site
        self._home = _mount(root) if root != CLOSED else None
        self._delete = request.delete_extra
        self._excluded = Exclusions(request.exclude)
        self._spare_caches = request.exclude_caches

    def sweep(self, folder: Folder, found: Callable[[bytes, int], None]) -> None:
        """Go through an open folder once all its names have come. `found` is told of every thing that is extra in it:
        its path, and how many things it holds, itself included. Raises OSError.
        """
        above = folder.key.replace(b"\0", b"/") + b"/" if folder.key else b""
        delete = self._may_delete(folder)
        for name, is_directory in _listed(folder.fd):
            if self._is_ours(folder, name):
                continue
            if self._site is not None and not is_directory and self._site.is_leftover(name):
                os.unlink(name, dir_fd=folder.fd)
            elif delete:
                count = self._extra(folder.fd, above, name, is_directory)
                if count:
                    found(above + name, count)

    def _may_delete(self, folder: Folder) -> bool:
        """Not when parts of the checkpoint cannot be read, nor in what was mounted on one of its folders."""
        is_known = folder.whole and (self._site is None or self._site.complete)
        return self._delete and is_known and _mount(folder.fd) == self._home

    def _is_ours(self, folder: Folder, name: bytes) -> bool:
        """Whether the checkpoint has it, or this run needs it."""
        if folder.names is not None and name in folder.names:
            return True
        return (name == MARKER and not folder.key) or (self._site is not None and self._site.is_own(name))

    def make_way(self, folder: Folder, name: bytes) -> None:
        """Remove a folder that stands where the checkpoint has something else. Raises InTheWay, OSError."""
        try:
            os.rmdir(name, dir_fd=folder.fd)
        except OSError:
            above = folder.key.replace(b"\0", b"/") + b"/" if folder.key else b""
            if self._may_delete(folder):
                self._extra(folder.fd, above, name, is_directory=True)
            try:
                os.rmdir(name, dir_fd=folder.fd)
            except FileNotFoundError:
                return
            except OSError:
                raise InTheWay("a folder with content has its place; recover with extra things deleted") from None

    def _extra(self, fd: int, above: bytes, name: bytes, is_directory: bool) -> int:
        """One extra thing. Returns how many things went, or would."""
        if self._excluded and self._excluded.match(above, name, is_directory):
            return 0
        if is_directory:
            return self._tree(fd, above, name)
        return int(self._remove(fd, name, above + name, is_directory=False))

    def _remove(self, fd: int, name: bytes, path: bytes, *, is_directory: bool) -> bool:
        if self._site is None:
            return True
        remove = os.rmdir if is_directory else os.unlink
        try:
            try:
                remove(name, dir_fd=fd)
            except PermissionError:
                if not (unlock_named(fd, name) | bool(unlock(fd))):
                    raise
                remove(name, dir_fd=fd)
        except FileNotFoundError:
            return False
        except OSError as wrong:
            self._site.notes.add(path, f"could not be deleted: {said(wrong)}")
            return False
        return True

    def _tree(self, fd: int, above: bytes, name: bytes) -> int:
        """A folder and all below it, from the bottom up."""
        walk = Handles(os.dup(fd), _OPEN_LEVELS)
        levels = [_Level(b"", above, [name], stays=False)]
        gone = 0
        try:
            while len(levels) > 1 or levels[0].folders:
                top = levels[-1]
                if top.folders:
                    path = top.path + (name := top.folders.pop())
                    if self._enter(walk, name, path):
                        below, count, stays = self._files(walk.fd, path + b"/")
                        levels.append(_Level(name, path + b"/", below, stays))
                        gone += count
                    else:
                        top.stays = True
                    continue
                levels.pop()
                walk.leave()
                if top.stays or not self._remove(walk.fd, top.name, top.path[:-1], is_directory=True):
                    levels[-1].stays = True
                else:
                    gone += 1
        except (Moved, OSError) as wrong:
            if self._site is not None:
                self._site.notes.add(above + name, f"could not be deleted: {said(wrong)}")
        finally:
            walk.close()
        return gone

    def _enter(self, walk: Handles, name: bytes, path: bytes) -> bool:
        """Go into a folder, unless it has to stay as it is."""
        try:
            walk.enter(name)
        except Moved:
            raise
        except OSError as wrong:
            if self._site is not None:
                self._site.notes.add(path, f"could not be deleted: {said(wrong)}")
            return False
        elsewhere = _mount(walk.fd) != self._home
        if elsewhere and self._site is not None:
            self._site.notes.add(path, "is a mount point: it was not deleted")
        if elsewhere or is_vault(walk.fd) or (self._spare_caches and is_cache(walk.fd)):
            walk.leave()
            return False
        return True

    def _files(self, fd: int, above: bytes) -> tuple[list[bytes], int, bool]:
        """All but the folders in an open folder. Returns the folders, how many things went, whether something stays."""
        folders: list[bytes] = []
        gone, stays = 0, False
        for name, is_directory in _listed(fd):
            if self._excluded and self._excluded.match(above, name, is_directory):
                stays = True
            elif is_directory:
                folders.append(name)
            elif self._remove(fd, name, above + name, is_directory=False):
                gone += 1
            else:
                stays = True
        return folders, gone, stays


def _mount(fd: int) -> tuple[int, bytes]:
    """Which file system, and through which mount."""
    return os.fstat(fd).st_dev, mount_id(fd)


def _listed(fd: int) -> Iterator[tuple[bytes, bool]]:
    """(name, whether it is a folder) of all that is in an open folder."""
    with os.scandir(fd) as entries:
        for entry in entries:
            yield os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)


def is_empty(fd: int) -> bool:
    """Whether nothing is in an open folder."""
    with os.scandir(fd) as entries:
        return next(iter(entries), None) is None

"""Which directories and names belong to a component: the same answer as that of the lister of a scan.

Patterns leave out an entry with all below it. Of a vault, of a folder of ours, of a tagged cache and, where that was
asked for, of another file system only the directory's own entry belongs to the component.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from knowngood.core.model import ComponentSpec
from knowngood.kinds.files.exclude import CACHE_TAG, Exclusions, is_cache, is_vault
from knowngood.kinds.files.watch.dirty import below
from knowngood.vault.layout import DESCRIPTOR

TURNING = frozenset({CACHE_TAG, DESCRIPTOR.encode()})
"""Names that, as they come or go, take the content of their directory out of the component, or bring it in."""

_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEPT_KEYS = 100_000


class Folder(NamedTuple):
    """A directory whose own entry belongs to the component."""

    key: bytes
    contents: bool  # whether what is in it does, too
    whole: bool = False  # it stands for one below it whose path is too long: anything below it may be meant


class Scope:
    """What belongs to one component. Remembers of up to 100,000 directories that their content does."""

    def __init__(self, component: ComponentSpec, ours: Iterable[str]) -> None:
        """`ours` are folders whose content is left out. Raises UsageError for a bad pattern, OSError."""
        self._exclusions = Exclusions(component.exclude)
        self._caches = component.exclude_caches
        self._one_file_system = component.one_file_system
        self._ours = {_identity(os.stat(folder)) for folder in ours}
        self._device = -1
        self._kept: set[bytes] = set()

    def begin(self, root: os.stat_result) -> None:
        """Forget all; `root` is the root directory now."""
        self._device = root.st_dev
        self._kept.clear()

    def forget(self) -> None:
        """Directories may have got other names, or other content."""
        self._kept.clear()

    def has(self, folder: Folder, name: bytes, is_directory: bool) -> bool:
        """Whether an entry of a directory belongs to the component."""
        if not folder.contents or not self._exclusions:
            return folder.contents
        above = folder.key.replace(b"\0", b"/") + b"/" if folder.key else b""
        return not self._exclusions.match(above, name, is_directory)

    def holds(self, fd: int) -> bool:
        """Whether the content of an open directory belongs, if its entry does. Raises OSError."""
        here = os.fstat(fd)
        if self._one_file_system and here.st_dev != self._device:
            return False
        return _identity(here) not in self._ours and not is_vault(fd) and not (self._caches and is_cache(fd))

    def find(self, root: int, key: bytes) -> tuple[Folder, int] | None:
        """A directory and its descriptor, for the caller to close; None when it does not belong to the component.

        Raises OSError when it is not there.
        """
        fd = os.open(b".", _FLAGS, dir_fd=root)
        try:
            folder = self._step(b"", fd)
            for name in key.split(b"\0") if key else ():
                if not self.has(folder, name, is_directory=True):
                    os.close(fd)
                    return None
                above, fd = fd, os.open(name, _FLAGS, dir_fd=fd)
                os.close(above)
                folder = self._step(below(folder.key, name), fd)
        except BaseException:
            os.close(fd)
            raise
        return folder, fd

    def reaches(self, root: int, key: bytes) -> bool:
        """Whether a directory belongs to the component; one that cannot be looked at does."""
        try:
            found = self.find(root, key)
        except OSError:
            return True
        if found is not None:
            os.close(found[1])
        return found is not None

    def _step(self, key: bytes, fd: int) -> Folder:
        if key in self._kept:
            return Folder(key, contents=True)
        contents = self.holds(fd)
        if contents:  # the opposite is asked for again each time: it may end without our being told by this name
            if len(self._kept) >= _KEPT_KEYS:
                self._kept.clear()
            self._kept.add(key)
        return Folder(key, contents)


def _identity(here: os.stat_result) -> tuple[int, int]:
    return here.st_dev, here.st_ino

"""What below the component's folder is not its own: what no change of is journalled."""

from __future__ import annotations

import os
from dataclasses import dataclass

from knowngood.kinds.files.exclude import is_cache, is_vault


@dataclass(frozen=True, slots=True)
class Scope:
    """As a component says it. Patterns are heeded by who reads the journal."""

    device: int  # of the folder
    caches: bool  # directories with a tag are left out
    one_file_system: bool

    def leaves_out(self, directory: int, here: os.stat_result) -> bool:
        """Whether an open directory is outside, and all that is in it."""
        if self.one_file_system and here.st_dev != self.device:
            return True
        try:
            fd = os.open(f"/proc/self/fd/{directory}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return is_vault(fd) or (self.caches and is_cache(fd))
        finally:
            os.close(fd)

"""What it takes for files of this machine to survive a power cut."""

from __future__ import annotations

import os


def sync_folder(path: str) -> None:
    """Make the names inside a folder durable. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

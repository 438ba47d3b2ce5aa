"""How much a capture holds in memory, keeps open, and lets go by before it notes how far it came."""

from __future__ import annotations

from dataclasses import dataclass

from knowngood.core.sizes import GIB, MIB
from knowngood.tree.content import EXTENTS

FILES_PER_RECORD = 20
"""To replay a record takes about as long as to recover one and a half files: 30 µs. So what is replayed for a moment
adds a tenth to what recovery takes, and half a second for the first of them, `Limits.records`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one capture. Tests make them small."""

    spill_names: int = 100_000  # names of one directory in memory; more of them go through sorted runs on disk
    open_directories: int = 96
    record_bytes: int = GIB  # progress is noted after so many bytes of new content…
    record_seconds: float = 30.0  # …or after so long, if there was any
    link_bytes: int = 16 * MIB  # what is remembered of hard links, about
    retry_bytes: int = 256 * MIB  # a larger file that changes while it is read is not read again at once
    hash_bytes: int = 64 * MIB  # smaller files without clones are not hashed before they change
    records: int = 15_000  # of the log since the last checkpoint, and one per twenty files, before a new one is due
    extents: int = EXTENTS  # parts of a sparse file; the smallest holes of a file with more are read as zeros

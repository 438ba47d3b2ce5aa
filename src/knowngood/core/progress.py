"""Progress as plain counters. Verbs write them; a door reads them from another thread whenever it likes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Progress:
    """What a running verb has done so far. Bytes; `total` fields are 0 while unknown."""

    phase: str = ""
    files: int = 0
    bytes: int = 0
    total_files: int = 0
    total_bytes: int = 0
    landed_bytes: int = 0
    current: str = ""
    phases: list[str] = field(default_factory=list[str])

    def enter(self, phase: str) -> None:
        """A new phase begins; counters go on."""
        self.phase = phase
        self.phases.append(phase)

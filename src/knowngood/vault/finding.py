"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Finding:
    """One thing that is wrong.

    `points` are the ids of the points it affects. For a log: `timelines` are the labels of those it affects, and the
    changes that are lost came to the vault after `after_ns` and by `until_ns` (0: not known). `lasting`: it is a part
    of a log, which no source tells a second time, or of parity; what else is damaged may be stored again.
    """

    what: str
    object: str
    reason: str
    points: list[bytes] = field(default_factory=list)
    timelines: list[bytes] = field(default_factory=list)
    after_ns: int = 0
    until_ns: int = 0
    lasting: bool = False

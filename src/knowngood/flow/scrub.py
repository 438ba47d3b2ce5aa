"""Scrub: read everything back within a month, a turn each hour, and heal what is found damaged.

An object is due 20 days after it was read, and a turn reads a 240th of the vault: so all that is due at once, even
after a month without a turn, is read within ten days. What was read is remembered object by object, in the catalog; a
turn that is cut goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field

from knowngood.core.errors import Busy
from knowngood.core.instants import SECOND, now_ns
from knowngood.core.sizes import MIB
from knowngood.flow.heal import heal_vault, note_harm, parity_kept, plan_heal
from knowngood.flow.parts import Parts
from knowngood.vault.check import Checked, check, read_back, readable
from knowngood.vault.forget import bad_packs
from knowngood.vault.parity.heal import Healed, HealingPlan
from knowngood.vault.parity.keep import Kept

DUE_AFTER = 20 * 86400 * SECOND
TURNS = 240
LEAST = 64 * MIB
RATE = 64 * MIB
"""Bytes per second, at most: a disk that does nothing else would give several times as much."""

_PARITY_READS = 2048 * MIB  # in a turn: about the members of one full set


@dataclass
class Scrubbed:
    """One turn. `due` objects were to be read; `left_bytes` of them are for later turns. Bytes."""

    due: int = 0
    left_bytes: int = 0
    checked: Checked = field(default_factory=Checked)
    healed: Healed = field(default_factory=Healed)
    parity: Kept = field(default_factory=Kept)


class Pacer:
    """Keeps a rate by waiting. `now` and `wait` are in seconds."""

    def __init__(
        self, rate: float, now: Callable[[], float] = time.monotonic, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._rate = rate
        self._now = now
        self._wait = wait
        self._free_at = now()

    def __call__(self, count: int) -> None:
        """So many bytes were read."""
        self._free_at = max(self._free_at, self._now() - 1.0) + count / self._rate
        ahead = self._free_at - self._now()
        if ahead > 0:
            self._wait(ahead)


def scrub(
    parts: Parts,
    pace: Callable[[int], None],
    alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    now: int | None = None,
) -> Scrubbed:
    """One turn: read what is due, heal what is damaged, give parity to what has none.

    `alone` holds the home while something is healed. Where it raises Busy, it is healed in the next turn.
    """
    moment = now_ns() if now is None else now
    before = parts.catalog.checked()
    there = dict(readable(parts.vault.store))
    parts.catalog.forget_checked(before.keys() - there.keys())
    due = {name for name in there if not 0 <= moment - before.get(name, (0, ""))[0] < DUE_AFTER}
    limit = max(LEAST, sum(there.values()) // TURNS)
    done = Scrubbed(due=len(due))
    done.checked = read_back(parts.vault, parts.catalog, parts.progress, due, limit, pace)
    done.left_bytes = max(0, sum(there[name] for name in due) - done.checked.read_bytes)
    plan = plan_heal(done.checked, parts)  # what is missing altogether comes up here
    if plan.wounds or plan.parity or plan.bare:
        with suppress(Busy), alone():
            _heal(parts, plan, done)
    done.parity = parity_kept(parts, least=1.0, most=_PARITY_READS)
    return done


def _heal(parts: Parts, plan: HealingPlan, done: Scrubbed) -> None:
    done.healed = heal_vault(plan, parts)
    doubted = {wound.member.name for wound in plan.wounds} | done.checked.read_bad | bad_packs(parts.catalog)
    after = check(parts.vault, parts.catalog, parts.progress, read_data=True, only=doubted)
    done.checked.findings = after.findings
    note_harm(after, parts)

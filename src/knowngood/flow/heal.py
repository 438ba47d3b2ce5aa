"""Heal: what was lost or damaged comes back from parity; what parity does not cover is left to its source.

A plan first, always. Parity itself is kept here, too: after a tidying, and whenever nothing else is to be done.
"""

from __future__ import annotations

from knowngood.core.errors import Busy, Damaged, Fenced, NoSpace
from knowngood.core.instants import now_ns
from knowngood.flow.parts import Parts
from knowngood.vault.check import Checked
from knowngood.vault.descriptor import mend_copies
from knowngood.vault.forget import GOOD, bad_packs, curable_packs, spent_packs
from knowngood.vault.harm import Harmed
from knowngood.vault.layout import PACK_FOLDERS, pack_key
from knowngood.vault.parity.heal import Healed, HealingPlan, heal, plan_healing
from knowngood.vault.parity.keep import Kept, keep_parity
from knowngood.vault.parity.shard import COMMIT


def plan_heal(found: Checked, parts: Parts) -> HealingPlan:
    """What of all that this check and earlier ones found comes back from parity, and what does not."""
    doubted = {each.object for each in found.findings}
    for pack in bad_packs(parts.catalog) | spent_packs(parts.catalog):
        doubted |= {pack_key(kind, pack) for kind in PACK_FOLDERS}
    return plan_healing(parts.vault, doubted, parts.progress)


def heal_vault(plan: HealingPlan, parts: Parts) -> Healed:
    """Carry out a plan, make small objects anew from their copies, and bring parity up to what is there then.

    Raises Busy when somebody else keeps the vault in order.
    """
    mend_copies(parts.vault.store)
    done = heal(parts.vault, plan, parts.progress)
    at = now_ns()
    parts.catalog.note_checked([(each.name, at, GOOD) for each in done.objects if each.kind != COMMIT])
    parts.catalog.follow(parts.vault.store, parts.private_here(), parts.vault.id)
    parity_kept(parts)
    return done


def note_harm(found: Checked, parts: Parts) -> None:
    """Remember what a check found, so that the next point stores again what is still at its source."""
    curable = any(not each.lasting for each in found.findings)
    if curable:
        parts.catalog.distrust()
    still = curable or curable_packs(parts.catalog)
    parts.catalog.note_harm(Harmed.FOUND if still else Harmed.NONE)


def parity_kept(parts: Parts, *, least: float = 0.0, most: int | None = None) -> Kept:
    """Bring parity up to what is there. It can wait: while somebody else keeps the vault in order, or there is no room
    for it, nothing happens."""
    try:
        return keep_parity(parts.vault, parts.progress, least=least, most=most, doubted=spent_packs(parts.catalog))
    except (Busy, Fenced, NoSpace, Damaged):
        return Kept()

"""`knowngood vault check --heal`: the plan, what came of it, and how both are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.words import count_text
from knowngood.flow.heal import heal_vault, plan_heal
from knowngood.flow.parts import Parts
from knowngood.vault.check import Checked, check
from knowngood.vault.parity.heal import Healed, HealingPlan


@dataclass(frozen=True, slots=True)
class Healing:
    """A plan; what carrying it out did and what a check found then, or None for both in a dry run."""

    plan: HealingPlan
    done: Healed | None = None
    after: Checked | None = None


def healed(found: Checked, parts: Parts, *, dry_run: bool) -> Healing:
    """Heal what a check found, and look again. With `dry_run` only plan it."""
    plan = plan_heal(found, parts)
    if dry_run:
        return Healing(plan)
    done = heal_vault(plan, parts)
    doubted = {wound.member.name for wound in plan.wounds} | found.read_bad
    after = check(parts.vault, parts.catalog, parts.progress, read_data=True, only=doubted)
    after.read_packs, after.read_bytes = found.read_packs, found.read_bytes
    return Healing(plan, done, after)


def healing_shape(healing: Healing) -> dict[str, Any]:
    """It as `--json` prints it."""
    plan, done = healing.plan, healing.done
    left = done.left if done else {}
    return {
        "dry_run": done is None,
        "bytes": done.bytes if done else sum(each.member.size for each in plan.curable),
        "objects": [
            {"object": each.key, "reason": each.reason, "obstacle": left.get(each.key, each.obstacle) or None}
            for each in plan.wounds
        ],
        "without_parity": list(plan.bare),
        "parity": list(plan.parity),
    }


def tell_healing(out: Output, healing: Healing) -> None:
    """It in words."""
    shape = healing_shape(healing)
    good = [each for each in shape["objects"] if each["obstacle"] is None]
    would = "would come back" if healing.done is None else "came back"
    out.note(f"{count_text(len(good), 'object')} {would} from parity ({bytes_text(shape['bytes'])})")
    for each in good if healing.done is None else ():
        out.note(f"  {each['object']}: {each['reason']}")
    for each in shape["objects"]:
        if each["obstacle"] is not None:
            out.warn(f"{each['object']}: {each['reason']}; it cannot be healed: {each['obstacle']}")
    for key in shape["without_parity"]:
        out.warn(f"{key}: damaged, and it has no parity")

"""What a collection came to, as JSON and for people."""

from __future__ import annotations

from typing import Any

from knowngood.core.ids import short
from knowngood.core.instants import iso_text
from knowngood.core.sizes import bytes_text
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.words import count_text, day_text
from knowngood.vault.collect import Collected
from knowngood.vault.parity.keep import Kept
from knowngood.vault.session import lives_here


def collected_shape(collected: Collected) -> dict[str, Any]:
    """Bytes and counts."""
    return {
        "packs": collected.packs,
        "needed_bytes": collected.needed_bytes,
        "freed_bytes": collected.freed_bytes,
        "deleted_packs": collected.deleted_packs,
        "copied_bytes": collected.copied_bytes,
        "purged_points": collected.purged_points,
        "purged_segments": collected.purged_segments,
        "spared_packs": collected.spared_packs,
        "lost_chunks": collected.lost_chunks,
        "fenced": collected.fenced,
        "waiting_for": [
            {"session": card.id.hex(), "purpose": card.purpose, "host": card.host, "since": iso_text(card.since_ns)}
            for card in collected.waiting_for
        ],
    }


def tell_collected(out: Output, collected: Collected, *, dry_run: bool) -> None:
    """In a sentence or two."""
    if collected.waiting_for:
        card = collected.waiting_for[0]
        out.note(
            f"nothing is deleted yet: {card.purpose} on {card.host}, since {day_text(card.since_ns)}, may still need it"
        )
        out.note("the next collection goes on from here")
        if not lives_here(card):
            out.note(f"should that process be gone for certain: knowngood vault sessions end {short(card.id)}")
        return
    verb = "would be freed" if dry_run else "freed"
    out.note(
        f"{bytes_text(max(0, collected.freed_bytes))} {verb}: {count_text(collected.deleted_packs, 'pack')} deleted, "
        f"{bytes_text(collected.copied_bytes)} copied"
    )
    if collected.lost_chunks:
        out.warn(
            f"{count_text(collected.lost_chunks, 'chunk')} that points need are lost; packs that may hold a damaged "
            "copy stay. Which points: knowngood vault check"
        )
    if collected.fenced:
        out.note(f"{count_text(collected.fenced, 'dead session')} ended")


def parity_shape(kept: Kept) -> dict[str, Any]:
    """What keeping parity did, as `--json` prints it."""
    return {
        "objects": kept.objects,
        "sets": kept.sets,
        "written_bytes": kept.written_bytes,
        "waiting": kept.waiting,
        "left_out": kept.left_out,
    }

"""What a check says of parity, and of commits that only parity still tells of."""

from __future__ import annotations

from collections.abc import Iterator

from knowngood.core.ports import Store
from knowngood.vault.epoch import latest_epoch_or_blank
from knowngood.vault.finding import Finding
from knowngood.vault.layout import COMMITS
from knowngood.vault.parity.heal import MISSING, purged_with
from knowngood.vault.parity.sets import ParitySet, list_sets, needless
from knowngood.vault.parity.shard import COMMIT
from knowngood.vault.session import list_sessions

RENEW = "tidying makes it anew: knowngood tidy"
"""What to do about a damaged parity object."""


def parity_findings(store: Store) -> Iterator[Finding]:
    """Parity objects that are damaged or missing, and commits that are missing though nobody let go of them.

    While somebody keeps the vault in order, sets are half made and half deleted: then nothing is said of them.
    """
    sets, damaged = list_sets(store)
    broken = {each.id for each in _broken(sets)}
    if damaged or broken:
        if any(card.exclusive for card in list_sessions(store)):
            return
        sets, damaged = list_sets(store)
    for key, reason in damaged.items():
        yield Finding("parity", key, f"{reason}; {RENEW}", lasting=True)
    for each in _broken(sets):
        if each.id in broken:
            yield Finding("parity", min(each.keys), f"{_lack(each)}; {RENEW}", lasting=True)
    yield from _lost_commits(store, sets)


def _broken(sets: list[ParitySet]) -> list[ParitySet]:
    idle = {each.id for each in needless(sets, {member.key for each in sets for member in each.table.members})}
    return [each for each in sets if not each.complete and each.id not in idle]


def _lack(one: ParitySet) -> str:
    missing = one.table.shards - len(one.shards)
    return f"{missing} of the {one.table.shards} objects of its set are missing" if missing else "cut short"


def _lost_commits(store: Store, sets: list[ParitySet]) -> Iterator[Finding]:
    have = {member.key: (each, member) for each in sets for member in each.table.members if member.kind == COMMIT}
    lost = have.keys() - {each.key for each in store.list(COMMITS)}
    epoch = latest_epoch_or_blank(store)
    for key in sorted(lost):
        if not purged_with(store, epoch, *have[key]):
            yield Finding("commit", key, MISSING)

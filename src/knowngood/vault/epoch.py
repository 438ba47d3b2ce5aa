"""Epochs: the numbered states of a vault's index and collection. Whoever puts number n first decides what n is.

No step here looks at a clock. What a collector may delete follows from which sessions can still refer to it
(docs/format.md, section Sessions, epochs and collection).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from knowngood.core.errors import Busy, Damaged, Exists, NotFound
from knowngood.core.malformed import MALFORMED
from knowngood.core.ports import Store
from knowngood.vault.layout import EPOCHS, epoch_key
from knowngood.vault.record import unwrap_plain, wrap_plain


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One state. `superseded` runs no longer count. `condemned` packs must not be referred to by new commits;
    `deleted` packs are no longer in the index and may vanish at any time. `purged` points are gone for good."""

    number: int = 0
    superseded: tuple[bytes, ...] = ()
    condemned: tuple[bytes, ...] = ()
    condemned_at: int = 0  # the number at which they were condemned: older sessions may still refer to them
    deleted: tuple[tuple[bytes, int], ...] = ()  # (pack, kind)
    purged: tuple[bytes, ...] = ()


_decoder = msgspec.msgpack.Decoder(Epoch)


def latest_epoch(store: Store, *, settled: bool = False) -> Epoch:
    """The epoch in force. Raises Damaged when it cannot be read.

    Who is to carry out what it says takes it `settled`: with the power, it must not go back to the one before.
    """
    numbers = epoch_numbers(store, settled=settled)
    if not numbers:
        return Epoch()
    for _ in range(8):
        try:
            return read_epoch(store, numbers[-1])
        except NotFound:  # an older one, cleaned away by a newer one since the listing
            numbers = epoch_numbers(store, settled=settled) or [0]
    raise Damaged("the vault's epochs keep changing", hint="run the command again")


def latest_epoch_or_blank(store: Store, *, settled: bool = False) -> Epoch:
    """The epoch in force; when it cannot be read, one of its number that condemns and deletes nothing."""
    try:
        return latest_epoch(store, settled=settled)
    except Damaged:
        return Epoch(number=max(epoch_numbers(store)))


def epoch_numbers(store: Store, *, settled: bool = False) -> list[int]:
    """The numbers of the epochs that are there, in order. A strange file is no epoch."""
    texts = (each.key.rpartition("/")[2] for each in store.list(EPOCHS, settled=settled))
    return sorted(int(text) for text in texts if text.isdecimal())


def read_epoch(store: Store, number: int) -> Epoch:
    """One epoch. Raises NotFound, Damaged."""
    try:
        return _decoder.decode(unwrap_plain(store.get(epoch_key(number))))
    except (Damaged, *MALFORMED):
        raise Damaged(f"epoch {number} cannot be read", hint="run: knowngood vault rebuild") from None


def put_epoch(store: Store, epoch: Epoch) -> None:
    """Make an epoch the one in force. Raises Exists when another process was first; clean away those before.

    The newest epoch is never cleaned away, so a number that was decided and forgotten shows by a newer one.
    """
    store.put(epoch_key(epoch.number), [wrap_plain(msgspec.msgpack.encode(epoch))])
    there = epoch_numbers(store)
    if there[-1] > epoch.number:
        store.delete(epoch_key(epoch.number))
        raise Exists(f"epoch {epoch.number} was decided long ago")
    for number in there:
        if number < epoch.number - 1:
            store.delete(epoch_key(number))


def supersede_runs(store: Store, before: Epoch, runs: Iterable[bytes]) -> None:
    """Put the epoch after `before`, in which only these runs no longer count, and all else is as it was.

    Raises Busy when another process was first.
    """
    try:
        put_epoch(store, msgspec.structs.replace(before, number=before.number + 1, superseded=tuple(sorted(runs))))
    except Exists:
        raise Busy("a collector is at work", hint="run the command again when it has finished") from None

"""Collections beside others: what once lost data, or could have."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import KnowngoodError, StoreFailed
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore
from knowngood.testing.vaults import SmallVault, small_packs, write_tree
from knowngood.vault.layout import EPOCHS, INDEX, SESSIONS
from knowngood.vault.rebuild import rebuild_index

Files = dict[bytes, bytes]


def files(some: random.Random, count: int) -> Files:
    return {b"file%d" % number: some.randbytes(1500) for number in range(count)}


@pytest.mark.parametrize("committed", [False, True])
def test_a_session_that_lands_and_ends_while_a_collector_marks(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random, *, committed: bool
) -> None:
    """Its packs were condemned before its run was there. The run once stayed in force and told of deleted packs, and
    the next writer of the same content referred to them."""
    shaky.expire(shaky.protect(files(some, 6)))
    kept = files(some, 3)
    truth = {shaky.protect(kept).id: kept}
    late = files(some, 8)
    session = shaky.vault.session("late")
    opened = session.__enter__()
    sink = shaky.vault.ingest(opened, Progress())
    ingest = sink.__enter__()
    with small_packs():
        root = write_tree(late, ingest)

    def meanwhile(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(EPOCHS):
            faulty.before.clear()
            ingest.flush()  # publishes the run
            if committed:
                truth[shaky.commit(opened, root).id] = late
            sink.__exit__(None, None, None)
            session.__exit__(None, None, None)

    faulty.before.append(meanwhile)
    shaky.collect()
    assert not faulty.before
    shaky.verify_known()
    truth[shaky.protect(late, "again").id] = late
    shaky.verify(truth)
    shaky.collect_all()
    shaky.verify(truth)
    assert shaky.check().findings == []


@pytest.mark.parametrize("chance", range(6))
def test_what_an_interrupted_collection_left_may_be_what_the_next_one_makes(
    faulty: FaultyStore, shaky: SmallVault, chance: int
) -> None:
    """The copy of the first was condemned as worthless, made again by the second under the same name, and deleted."""
    some = random.Random(chance)
    everything = files(some, 12)
    kept = dict(list(everything.items())[:3])
    with small_packs(raw=1 << 20):
        shaky.expire(shaky.protect(everything))
        truth = {shaky.protect(kept).id: kept}

    def stop(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(EPOCHS) and key.endswith("2"):
            raise StoreFailed("the power went off")

    faulty.before.append(stop)
    with pytest.raises(KnowngoodError):
        shaky.collect()
    faulty.before.clear()
    for folder in (EPOCHS, INDEX, SESSIONS):  # the epochs are lost as well, and with them what was condemned
        for each in list(shaky.store.list(folder)):
            shaky.store.delete(each.key)
    rebuild_index(shaky.vault, Progress())
    shaky.collect_all()
    shaky.verify(truth)
    assert shaky.check().findings == []

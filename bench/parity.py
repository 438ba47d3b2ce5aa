"""What parity costs: processor time per byte to make two shards, to extend a set, to heal; memory; and space.

``python -m bench.parity --packs 48 --size 32`` in ``--scratch``: packs of random bytes, MiB each. A fresh process, so
that its peak of memory is that of parity.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

from blake3 import blake3

from knowngood.core.progress import Progress
from knowngood.core.sizes import MIB
from knowngood.stores.disk import DiskStore
from knowngood.vault.layout import PACKS, PARITY_PACKS, pack_key
from knowngood.vault.parity.decode import decode
from knowngood.vault.parity.keep import keep_parity
from knowngood.vault.parity.sets import list_sets
from knowngood.vault.vault import create_vault

Result = TypeVar("Result")


def measured(what: str, size: int, act: Callable[[], Result]) -> Result:
    """Do something, and print the processor time that it took for so many bytes."""
    began = time.process_time()
    result = act()
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {took:.2f} s of CPU, {size / took / 1e6:.0f} MB/s; peak of memory {peak:.0f} MiB")
    return result


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=int, default=48)
    parser.add_argument("--size", type=int, default=32, help="MiB")
    parser.add_argument("--scratch", default="/var/tmp")
    given = parser.parse_args()
    size = given.size * MIB
    with tempfile.TemporaryDirectory(dir=given.scratch) as base:
        store = DiskStore(os.path.join(base, "vault"))
        vault, _ = create_vault(store, None)
        for _ in range(given.packs):
            data = os.urandom(size)
            store.put(pack_key(1, blake3(data).digest()), [data])
            del data
        whole = given.packs * size
        measured(f"parity for {given.packs} packs", whole, lambda: keep_parity(vault, Progress()))
        (parity,) = list_sets(store, [PARITY_PACKS])[0]
        there = sum(each.size for each in store.list(PARITY_PACKS))
        print(f"space: {100 * there / sum(each.size for each in store.list(PACKS)):.2f} %")
        member = parity.table.members[0]
        store.delete(member.key)
        measured("a lost pack computed", size, lambda: decode(store, parity, member))


if __name__ == "__main__":
    main()

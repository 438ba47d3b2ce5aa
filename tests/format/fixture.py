"""Makes the vault of format 1 that has to stay readable for ever. It was run once: `python -m tests.format.fixture`.

Its private key was replaced once, so that there are packs under two keys; one point has expired, and one was collected.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.ids import Name, new_id
from knowngood.core.model import Checkpoint, Mark, Point, Problem, Totals
from knowngood.core.progress import Progress
from knowngood.seal.chunker import ChunkSizes
from knowngood.seal.keys import PassphraseLock, PrivateKey, recovery_text
from knowngood.stores.disk import DiskStore
from knowngood.vault.catalog import Catalog
from knowngood.vault.collect import collect
from knowngood.vault.descriptor import KeyFile, read_key_files, write_key_file
from knowngood.vault.unlock import rotate, writer_key
from knowngood.vault.vault import Vault, create_vault
from tests.format.shapes import Shape, described, shapes, write_shapes

HOME = Path(__file__).with_name("vaults") / "v1"
PASSPHRASE = "a passphrase of format 1, ü"
MOMENT = 1_795_000_000_000_000_000


def small_lock(private: PrivateKey) -> PassphraseLock:
    """A lock that opens at once: the fixture is no secret."""
    lock = PassphraseLock(os.urandom(16), b"", iterations=1, lanes=1, memory_kib=64)
    stretched = AESGCM(lock._stretch(PASSPHRASE.encode()))
    sealed = stretched.encrypt(bytes(12), private.recovery_key, b"knowngood")
    return PassphraseLock(lock.salt, sealed, iterations=1, lanes=1, memory_kib=64)


def protect(vault: Vault, catalog: Catalog, parts: dict[str, list[Shape]], number: int) -> Point:
    """One point of a service whose components are these trees."""
    with vault.session("protect") as session:
        with vault.ingest(session, Progress()) as sink:
            roots = {component: write_shapes(found, sink) for component, found in parts.items()}
            sink.flush()
        moment = MOMENT + number * 10**9
        checkpoints = tuple(_checkpoint(component, root, moment) for component, root in roots.items())
        point = Point(
            id=new_id(),
            service_label=vault.writer.namer.label("service", "host", "shop"),
            service="shop",
            marks=tuple(Mark(each.timeline, each.id) for each in checkpoints),
            level="L0",
            status="incomplete" if number == 1 else "recoverable",
            moment_ns=moment,
            started_ns=moment - 1,
            evidence={"method": "made for the test of the format"},
            name=f"point {number}",
        )
        return vault.commit_point(session, catalog, point, checkpoints)


def _checkpoint(component: str, root: Name, moment: int) -> Checkpoint:
    return Checkpoint(
        id=new_id(),
        timeline=component.encode().ljust(16, b"."),
        root=root,
        component=component,
        kind="files",
        source=f"/srv/{component}",
        host="host",
        capture="scan",
        started_ns=moment - 1,
        finished_ns=moment,
        totals=Totals(files=1),
        problems=(Problem(b"lost\xff", "permission denied"),),
        problem_count=1,
    )


def states() -> list[dict[str, list[Shape]]]:
    """What the points hold: 0 is collected, 1 expired; 2 is the latest, with a component that is a single file."""
    every = shapes()
    single = [Shape(b".", 0o100640, b"a single file", every[1].how, inode=5)]
    less = [each for each in every if b"long" not in each.path]
    return [{"files": less[:6]}, {"files": less}, {"files": every, "one": single}]


def summary(tree: dict[bytes, dict[str, Any]]) -> dict[str, Any]:
    """What a tree must look like: every entry but those of the long directory, and a digest of them all."""
    entries = {path.hex(): tree[path] for path in sorted(tree)}
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"))
    few = {path: found for path, found in entries.items() if not path.startswith(b"long/".hex())}
    return {"digest": blake3(text.encode()).hexdigest(), "entries": few}


def make() -> None:
    """Write the fixture."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    store, catalog = DiskStore(HOME / "vault"), Catalog(":memory:")
    vault, private = create_vault(store, None, ChunkSizes(64, 256, 1024))
    made = [protect(vault, catalog, states()[0], 0), protect(vault, catalog, states()[1], 1)]
    private = rotate(store, private, None)
    (key,) = read_key_files(store)
    write_key_file(store, KeyFile(key.public, key.naming, small_lock(private), key.previous), replace=True)
    vault = Vault(store, vault.descriptor, writer_key(store, private))
    made.append(protect(vault, catalog, states()[2], 2))
    with vault.session("expire") as session:
        vault.expire(session, catalog, (made[0].id,), 0)
        vault.expire(session, catalog, (made[1].id,), 1 << 62)
    collect(vault, Progress())
    shutil.rmtree(HOME / "vault" / "tmp")
    (HOME / "recovery-key.txt").write_text(recovery_text(private.recovery_key) + "\n")
    (HOME / "passphrase.txt").write_text(PASSPHRASE + "\n")
    expected: dict[str, Any] = {"vault-id": vault.id.hex(), "points": []}
    for number in (1, 2):
        trees = {
            component: summary({each.path: described(each) for each in found})
            for component, found in states()[number].items()
        }
        expected["points"].append({"id": made[number].id.hex(), "name": made[number].name, "trees": trees})
    (HOME / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    make()

"""A folder that is followed into a vault, and a store that fails when it is told to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from knowngood.core.errors import StoreFailed
from knowngood.core.ids import Name
from knowngood.core.log import LogRecord
from knowngood.core.model import Checkpoint, ComponentSpec, Position, ServiceSpec
from knowngood.flow.follow import Following
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.follow.follower import FilesFollower
from knowngood.kinds.files.limits import Limits
from knowngood.testing.memory import MemoryScratch
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.tree.read import TreeReader
from knowngood.tree.replay import Replay
from knowngood.vault.log_reader import LogReader
from tests.unit.kinds_files.following import Told
from tests.unit.tree.replaying import expand


class ToldKind(FilesKind):
    """Files, with a watcher that looks at everything."""

    def follow(self, component: ComponentSpec, state_dir: str) -> FilesFollower:
        """The same, but for the watcher."""
        path = os.fsencode(os.path.realpath(component.path))
        told = Told(Path(component.path))
        told.drain()
        os.makedirs(state_dir, exist_ok=True)
        return FilesFollower(component, path, state_dir, told, set, Limits(), self._clock)


class FailingStore(MemoryStore):
    """Fails at a `put` of a key that begins like this: before it is done, or after."""

    def __init__(self) -> None:
        super().__init__()
        self.before = self.after = "none"
        self.calls = 0  # so many go well first

    def put(self, key: str, parts: object) -> None:
        """Fail or not."""
        if self.calls and key.startswith((self.before, self.after)):
            self.calls -= 1
            super().put(key, parts)  # type: ignore[arg-type]
            return
        if key.startswith(self.before):
            raise StoreFailed("the vault is away")
        super().put(key, parts)  # type: ignore[arg-type]
        if key.startswith(self.after):
            raise StoreFailed("the vault went away")


@dataclass
class Stage:
    """A folder that is followed into a vault."""

    tree: Path
    store: FailingStore
    small: SmallVault
    parts: Parts
    service: ServiceSpec
    following: Following

    def protect(self) -> Checkpoint:
        """Make a point."""
        return protect(self.service, self.parts, followed={"files": self.following}).checkpoints[0]

    def follow(self) -> None:
        """Follow anew, as a new process does."""
        self.following.close()
        self.following = Following(self.service, self.service.components[0], self.parts)

    def log(self, position: Position) -> list[LogRecord]:
        """What the log holds after a position."""
        reader = LogReader(self.small.vault, self.small.catalog, self.small.private)
        return list(reader.records(self.following.timeline, position))

    def replayed(self, checkpoint: Checkpoint, upto: int | None = None) -> dict[bytes, bytes]:
        """The files that replay from a checkpoint to the end of the log comes to, or to a record."""
        assert isinstance(checkpoint.position, Position)
        with self.small.vault.session("read") as session:
            pages = self.small.vault.reader(session, self.small.private)
            replay = Replay(Name(checkpoint.root), pages, MemoryScratch(), expand, checkpoint.position.sequence)
            replay.run(self.log(checkpoint.position)[: None if upto is None else upto - checkpoint.position.sequence])
            root, source = replay.state()
            tree = TreeReader(root, source.page)
            return {
                each.path: each.inline or b"".join(bytes(source.chunk(Name(name))) for name, _ in tree.chunks(each))
                for each in tree.entries()
                if each.is_file
            }

    def files(self) -> dict[bytes, bytes]:
        """What is there."""
        return {
            os.fsencode(each.relative_to(self.tree)): each.read_bytes()
            for each in self.tree.rglob("*")
            if each.is_file()
        }


def stage_in(tmp_path: Path) -> Stage:
    """Three files, not captured yet."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in "abc":
        (tree / name).write_bytes(name.encode() * 300)
    store = FailingStore()
    small = SmallVault(store)
    kind = ToldKind()
    parts = Parts(
        vault=small.vault,
        catalog=small.catalog,
        kinds=lambda: {"files": kind},
        state_dir=lambda timeline: str(tmp_path / timeline.hex()),
        private=lambda: small.private,
    )
    component = ComponentSpec(name="files", kind="files", path=str(tree))
    service = ServiceSpec(name="shop", components=(component,))
    return Stage(tree, store, small, parts, service, Following(service, component, parts))

"""The home folder: where this machine's configuration, keys and what kinds remember are kept."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knowngood.control.files import make_folder, mapped, sweep, write_durably
from knowngood.control.lock import hold
from knowngood.core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from knowngood.control.forms import Config

VARIABLE = "KNOWNGOOD_HOME"
_SYSTEM = "/var/lib/knowngood"
PATIENCE = 30.0
"""For how many seconds a command waits for what `knowngood up` is doing."""


def default_path(environment: Mapping[str, str] = os.environ, *, root: bool | None = None) -> str:
    """KNOWNGOOD_HOME; else /var/lib/knowngood for root, and the user's state folder for everybody else."""
    if named := environment.get(VARIABLE):
        return os.path.abspath(named)
    if os.geteuid() == 0 if root is None else root:
        return _SYSTEM
    state = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # the XDG specification: a relative path is to be ignored
        state = os.path.join(environment.get("HOME") or os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "knowngood")


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of a home, and the few ways to write there.

    ```
    config.yaml             which vault
    services/NAME.yaml      one file per service, edited by commands or by hand
    former/NAME/TIME.yaml   definitions that were replaced or removed
    keys/                   the writer's key; the unlocking key only if it is to be kept here
    catalog.sqlite          derived: may be deleted
    state/TIMELINE/         what a kind remembers between checkpoints; may be deleted
    errors/                 details of unexpected errors
    lock                    who is writing
    up.lock                 which process keeps the promises (`knowngood up`)
    up.sock                 where it answers
    tidied                  when the home was last tidied
    lapses.json             what could have been lost at worst, and when writes were not waited for
    replaced.json           what recoveries in place have kept, and where
    descriptor              what is known of the vault while it is away; may be deleted
    promises.json           for how long promises were kept, late and broken on each day
    kit-kept                of which vault somebody has said that its recovery kit is kept elsewhere
    drills/NAME/…           signed reports of drills, as JSON and to be read
    sandboxes/              which private folders are in use; what is there and unlocked was left behind
    checks/                 scripts that services name by a relative path
    ```
    """

    path: str

    @classmethod
    def at(cls, path: str | None = None) -> Home:
        """The home in this folder, or the default one. Nothing is read or created."""
        return cls(os.path.abspath(path) if path else default_path())

    @property
    def config_path(self) -> str:
        """The configuration of this home."""
        return os.path.join(self.path, "config.yaml")

    @property
    def services(self) -> str:
        """Folder of the service files."""
        return os.path.join(self.path, "services")

    @property
    def former(self) -> str:
        """Folder of service files that were replaced or removed."""
        return os.path.join(self.path, "former")

    @property
    def keys(self) -> str:
        """Folder of the keys."""
        return os.path.join(self.path, "keys")

    @property
    def writer_key(self) -> str:
        """The key that a writer needs: it seals, and cannot read back."""
        return os.path.join(self.keys, "writer.key")

    @property
    def unlocking_key(self) -> str:
        """The key that reads, where the owner chose to keep it on this machine."""
        return os.path.join(self.keys, "unlocking.key")

    @property
    def catalog(self) -> str:
        """The catalog: derived, rebuilt from the vault when it is missing."""
        return os.path.join(self.path, "catalog.sqlite")

    @property
    def errors(self) -> str:
        """Folder of the details of unexpected errors."""
        return os.path.join(self.path, "errors")

    @property
    def socket(self) -> str:
        """Where `knowngood up` answers while it runs."""
        return os.path.join(self.path, "up.sock")

    @property
    def tidied(self) -> str:
        """When the home was last tidied; only a schedule goes by it."""
        return os.path.join(self.path, "tidied")

    @property
    def vault_descriptor(self) -> str:
        """What is remembered of the vault for when it is away."""
        return os.path.join(self.path, "descriptor")

    @property
    def lapses(self) -> str:
        """How well promises were kept; may be deleted."""
        return os.path.join(self.path, "lapses.json")

    @property
    def replaced(self) -> str:
        """What recoveries in place have replaced and kept."""
        return os.path.join(self.path, "replaced.json")

    @property
    def kit_kept(self) -> str:
        """Of which vault somebody has said that its recovery kit is kept elsewhere."""
        return os.path.join(self.path, "kit-kept")

    @property
    def promises(self) -> str:
        """How promises stood on each day; may be deleted, and then those days are unknown."""
        return os.path.join(self.path, "promises.json")

    @property
    def drills(self) -> str:
        """Folder of the reports of drills."""
        return os.path.join(self.path, "drills")

    @property
    def sandboxes(self) -> str:
        """Folder that knows of private folders in use."""
        return os.path.join(self.path, "sandboxes")

    @property
    def signing_key(self) -> str:
        """The key that signs reports of drills."""
        return os.path.join(self.keys, "drills.key")

    def state(self, timeline: bytes) -> str:
        """A kind's own folder for one timeline; created when it is missing."""
        path = os.path.join(self.path, "state", timeline.hex())
        make_folder(path)
        return path

    def exists(self) -> bool:
        """Whether this home was set up."""
        return os.path.isdir(self.path)

    def create(self) -> None:
        """Create the home and its folders, for its owner only. No error when they are there."""
        for each in (self.path, self.services, self.former, self.keys):
            make_folder(each)
        self.check()

    def check(self) -> None:
        """Raise UsageError when others could change what is kept here."""
        try:
            mode = os.stat(self.path).st_mode
        except OSError as wrong:
            raise mapped(wrong, self.path, "use the home") from wrong
        if mode & stat.S_IWOTH:
            raise UsageError(f"everybody can write to the home {self.path}", hint=f"chmod 700 {shlex.quote(self.path)}")

    @contextmanager
    def up(self, command: str) -> Iterator[None]:
        """Be the one process that keeps this home's promises. Raises Busy, naming the one that is it already."""
        self.create()
        with hold(os.path.join(self.path, "up.lock"), command, hint="look with: knowngood status"):
            yield

    @contextmanager
    def lock(self, command: str, *, passing: bool = False) -> Iterator[None]:
        """Create the home if need be, and hold it for one writing verb. Raises Busy, naming the holder.

        `knowngood up` is `passing`: it holds the home for one verb after the other, and commands wait a little for it.
        """
        self.create()
        patience = 0.0 if passing else PATIENCE
        with hold(os.path.join(self.path, "lock"), command, passing=passing, patience=patience):
            for folder in (self.path, self.services, self.keys):
                sweep(folder)
            yield

    def write_private(self, path: str, data: bytes, *, replace: bool = False) -> None:
        """Write a key or another secret: durable, whole, readable by its owner only. Raises Exists."""
        make_folder(os.path.dirname(path))
        write_durably(path, data, mode=0o600, replace=replace)

    def config(self) -> Config:
        """The configuration; an empty one when none was written yet."""
        from knowngood.control.documents import read_document  # noqa: PLC0415 a home is named more often than read
        from knowngood.control.forms import Config, read_config  # noqa: PLC0415

        try:
            return read_config(read_document(self.config_path))
        except NotFound:
            return Config()

    def write_config(self, config: Config) -> None:
        """Replace the configuration. Under the lock."""
        from knowngood.control.forms import config_text  # noqa: PLC0415

        self.create()
        write_durably(self.config_path, config_text(config).encode())

    def vault_path(self) -> str:
        """Where the vault of this home is. Raises NotFound when none was named."""
        vault = self.config().vault
        if vault is None:
            raise NotFound(f"no vault is named in {self.config_path}", hint="knowngood init --vault FOLDER")
        return vault

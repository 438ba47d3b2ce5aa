"""The workshop: opens what a command needs, once, from a home and the plugins. Commands ask it and nobody else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from knowngood.control.files import read_bounded, write_durably
from knowngood.control.forms import Config
from knowngood.control.home import Home
from knowngood.control.keyring import (
    Secrets,
    bare_key,
    forget_unlocking,
    load_writer,
    private_key,
    save_unlocking,
    save_writer,
)
from knowngood.control.plugins import Plugins
from knowngood.core.errors import Damaged, KnowngoodError, Locked, NotFound
from knowngood.core.ports import Store
from knowngood.core.progress import Progress
from knowngood.flow.parts import Parts
from knowngood.seal.keys import PrivateKey, recovery_text
from knowngood.vault.absent import absent_vault
from knowngood.vault.catalog import Catalog
from knowngood.vault.descriptor import mend_copies, read_descriptor, read_key_files
from knowngood.vault.reserve import DEFAULT, set_reserve
from knowngood.vault.restore import KeyRestore, plan_restore, restore_key_file
from knowngood.vault.unlock import change_passphrase, rotate, writer_key
from knowngood.vault.vault import Vault, create_vault, open_vault

_DESCRIPTOR_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True, repr=False)
class RecoveryKit:
    """What has to be kept elsewhere: with it and the vault, everything comes back."""

    vault: str
    vault_id: str
    recovery_key: str
    kept_here: bool  # the private key also lies in the home
    passphrase: bool  # the vault also opens with a passphrase


def _no_vault(location: str) -> NotFound:
    return NotFound(
        f"there is no vault at {location}",
        hint="is its disk mounted? make a new one with: knowngood init --vault DIR",
    )


class Workshop:
    """Opens things lazily and keeps them for the length of one command."""

    def __init__(self, home: Home, plugins: Plugins, secrets: Secrets | None = None) -> None:
        self.home = home
        self.plugins = plugins
        self.secrets = secrets or Secrets()
        self.progress = Progress()

    def close(self) -> None:
        """Close what is open; it is opened again when somebody asks for it."""
        if "catalog" in self.__dict__:
            self.catalog.close()
            del self.__dict__["catalog"]

    # ---------------------------------------------------------------------------------------------- beginning

    def create_vault(self, location: str, passphrase: bytes | None, *, reserve: int = DEFAULT) -> RecoveryKit:
        """Make a vault and point the home at it. Without a passphrase, the home keeps the private key."""
        store = self.plugins.store(location)
        keep = passphrase is None
        vault, private = create_vault(store, passphrase, keep=lambda *made: self._keep_keys(*made, unlocking=keep))
        self.home.write_config(Config(vault=location))
        self._remember(vault)
        set_reserve(store, reserve)
        return RecoveryKit(
            location,
            vault.id.hex(),
            recovery_text(private.recovery_key),
            passphrase is None,
            passphrase is not None,
        )

    def join_vault(self, location: str, *, keep: bool) -> Vault:
        """Point the home at a vault that exists, with its passphrase or recovery key. Raises Locked."""
        store = self.plugins.store(location)
        try:
            read_descriptor(store)
        except NotFound:
            raise _no_vault(location) from None
        private = private_key(self.home, store, self.secrets)
        vault = open_vault(store, writer_key(store, private))
        mend_copies(store)  # where an interrupted init has left one of two
        self._keep_keys(vault, private, unlocking=keep)
        self.home.write_config(Config(vault=location))
        self._remember(vault)
        return vault

    def _keep_keys(self, vault: Vault, private: PrivateKey, *, unlocking: bool) -> None:
        self.home.create()
        if unlocking:
            save_unlocking(self.home, private)
        save_writer(self.home, vault.writer)

    def kit(self) -> RecoveryKit:
        """The recovery kit once more. Raises Locked."""
        locked = any(key.lock for key in read_key_files(self.store))
        here = os.path.exists(self.home.unlocking_key)
        return RecoveryKit(
            self.home.vault_path(),
            self.vault.id.hex(),
            recovery_text(self.private.recovery_key),
            here,
            locked,
        )

    def change_passphrase(self, passphrase: bytes | None) -> None:
        """Another passphrase, or None: the key stays in this home only. Raises Locked."""
        private = self.private
        if passphrase is None:
            save_unlocking(self.home, private)
        change_passphrase(self.store, private, passphrase)
        if passphrase is not None:
            forget_unlocking(self.home)

    def rotate_key(self, passphrase: bytes | None) -> RecoveryKit:
        """Replace the vault's key pair; a new kit has to be kept. Raises Locked."""

        def keep(new: PrivateKey) -> None:
            if passphrase is None:
                save_unlocking(self.home, new)
            else:
                forget_unlocking(self.home)
            save_writer(self.home, writer_key(self.store, new))

        new = rotate(self.store, self.private, passphrase, keep)
        return RecoveryKit(
            self.home.vault_path(),
            self.vault.id.hex(),
            recovery_text(new.recovery_key),
            passphrase is None,
            passphrase is not None,
        )

    def plan_key_restore(self, location: str, replaced: Sequence[bytes] = ()) -> KeyRestore:
        """Plan to write the key file of a vault anew, from the recovery key and what the home and the vault still have.

        `replaced` are recovery keys that it replaced, newest first. Raises Locked, Exists, Damaged.
        """
        store = self.plugins.store(location)
        try:
            vault_id = read_descriptor(store).vault_id
        except NotFound:
            raise _no_vault(location) from None
        writer = None
        with suppress(NotFound, Damaged):
            writer = load_writer(self.home)
        if writer is not None and writer.vault_id != vault_id:
            writer = None
        return plan_restore(store, bare_key(self.home, self.secrets, replaced), writer)

    def restore_keys(self, location: str, plan: KeyRestore, passphrase: bytes | None) -> None:
        """Carry out such a plan. Without a passphrase, the home keeps the private key."""
        if passphrase is None:
            self.home.create()
            save_unlocking(self.home, plan.private)
        restore_key_file(self.plugins.store(location), plan, passphrase)
        if passphrase is not None:
            forget_unlocking(self.home)

    # -------------------------------------------------------------------------------------------------- opened

    @cached_property
    def store(self) -> Store:
        """The store of the home's vault."""
        return self.plugins.store(self.home.vault_path())

    @cached_property
    def vault(self) -> Vault:
        """The home's vault."""
        try:
            return open_vault(self.store, load_writer(self.home))
        except NotFound as wrong:
            if wrong.hint:
                raise
            raise _no_vault(self.home.vault_path()) from None

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog, brought up to the vault's commits."""
        catalog = Catalog(self.home.catalog)
        catalog.follow(self.vault.store, self._private_if_here(), self.vault.id)
        return catalog

    def private_here(self) -> PrivateKey | None:
        """The private key when it was used already or is kept here; nobody is asked."""
        return self.private if "private" in self.__dict__ else self._private_if_here()

    def _private_if_here(self) -> PrivateKey | None:
        """The private key when it can be had without asking anybody."""
        try:
            return private_key(self.home, self.store, Secrets())
        except KnowngoodError:  # not having it is a normal state; where it matters, it is asked for
            return None

    @cached_property
    def private(self) -> PrivateKey:
        """The private key; asks for it when it is not kept here. Raises Locked."""
        private = private_key(self.home, self.store, self.secrets)
        if self.catalog.nameless():
            self.catalog.follow(self.vault.store, private, self.vault.id)
        return private

    def rebuild_catalog(self) -> int:
        """Make the catalog anew from the vault's commits. Returns how many points stay nameless without the key."""
        checked: list[tuple[bytes, int, str]] = []
        with suppress(KnowngoodError):  # what was read back and when is in no commit
            checked = [(pack, at, verdict) for pack, (at, verdict) in self.catalog.checked().items()]
        self.close()
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(self.home.catalog + suffix)
        self.catalog.note_checked(checked)
        self.catalog.distrust()
        if self.catalog.nameless():
            with suppress(Locked):
                self.catalog.follow(self.vault.store, self.private, self.vault.id)
        return self.catalog.nameless()

    def parts(self) -> Parts:
        """What the verbs of the flow are given."""
        return self._parts(self.vault)

    def remember_vault(self) -> None:
        """Keep what has to be known of the vault to follow while it is away. Raises KnowngoodError."""
        self._remember(self.vault)

    def _remember(self, vault: Vault) -> None:
        known = vault.descriptor.encode()
        with suppress(KnowngoodError):  # there is none yet
            if read_bounded(self.home.vault_descriptor, _DESCRIPTOR_LIMIT) == known:
                return
        write_durably(self.home.vault_descriptor, known)

    def parts_without_vault(self, why: KnowngoodError) -> Parts:
        """The same while the vault is away: enough to follow into the spool. The catalog is as it was left.

        Raises `why` where too little is known of the vault for that.
        """
        try:
            self.home.vault_path()
            known = read_bounded(self.home.vault_descriptor, _DESCRIPTOR_LIMIT)
            vault = absent_vault(known, load_writer(self.home), why)
        except KnowngoodError:
            raise why from None
        self.__dict__["catalog"] = Catalog(self.home.catalog)
        return self._parts(vault)

    def _parts(self, vault: Vault) -> Parts:
        return Parts(
            vault=vault,
            catalog=self.catalog,
            kinds=self.plugins.kinds,
            state_dir=self.home.state,
            private=lambda: self.private,
            private_here=self.private_here,
            progress=self.progress,
        )

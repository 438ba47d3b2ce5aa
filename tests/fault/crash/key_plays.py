"""Plays about keys, and about how a vault begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from knowngood.core.errors import Locked, NotFound
from knowngood.seal.keys import PrivateKey
from knowngood.stores.disk import DiskStore
from knowngood.testing.crash.recorder import Tell
from knowngood.testing.vaults import SmallVault
from knowngood.vault.unlock import change_passphrase, rotate, unlock_with_passphrase, writer_key
from knowngood.vault.vault import create_vault, open_vault
from tests.fault.crash.ledger import Found
from tests.fault.crash.look import Noted, look
from tests.fault.crash.plays import VAULT, Play


class Keys(Play):
    """Passphrases and key pairs change, and damaged copies are mended."""

    steps = 4

    def begin(self, root: Path) -> None:
        """A vault under a passphrase."""
        store = DiskStore(root / VAULT)
        create_vault(store, b"first")
        self.ledger.passphrases = {"first"}
        self.protect(self.opened(store), self.tell)

    def opened(self, store: DiskStore) -> SmallVault:
        """With whatever passphrase opens it."""
        return self._with(store, sorted(self.ledger.passphrases))[0]

    @staticmethod
    def _with(store: DiskStore, passphrases: list[str]) -> tuple[SmallVault, set[str]]:
        opens: dict[str, PrivateKey] = {}
        for each in passphrases:
            try:
                opens[each] = unlock_with_passphrase(store, each.encode())
            except Locked:
                continue
        if not opens:
            raise Locked("no passphrase opens it")
        private = max(opens.values(), key=lambda each: len(each.previous))
        return as_small(store, private), set(opens)

    def live(self, root: Path, tell: Tell) -> None:
        """One thing after the other."""
        store = DiskStore(root / VAULT)
        for _ in range(self.steps):
            small = self._with(store, sorted(self.ledger.passphrases))[0]
            step = self.chance.choice([self.protect, self.rotate, self.change, self.rebuild, self.collect])
            step(small, tell)

    def rotate(self, small: SmallVault, tell: Tell) -> None:
        """Another key pair."""
        self._change(tell, lambda new: rotate(small.store, small.private, new))

    def change(self, small: SmallVault, tell: Tell) -> None:
        """Another passphrase for the same one."""
        self._change(tell, lambda new: change_passphrase(small.store, small.private, new))

    def _change(self, tell: Tell, act: Callable[[bytes], object]) -> None:
        new = f"{self.chance.randrange(1 << 40)}"
        for words in (("changing passphrase", new), None, ("changed passphrase", new)):
            if words is None:
                act(new.encode())
            else:
                tell(*words)
                self.ledger.hear(words)

    def look(self, store: Noted, found: Found) -> SmallVault | None:
        """With each of the passphrases that may open it."""
        small, opens = self._with(store, sorted(self.ledger.passphrases))
        found.opens = frozenset(opens)
        look(small, found, logs=False)
        return small


def as_small(store: DiskStore, private: PrivateKey) -> SmallVault:
    """A vault that was not made here."""
    vault = open_vault(store, writer_key(store, private))
    small = SmallVault.__new__(SmallVault)
    small.__dict__.update(store=store, vault=vault, private=private)
    return small.beside(store)


class Created(Keys):
    """A vault is made, and something is protected in it."""

    kills = 40

    def begin(self, root: Path) -> None:
        """Nothing is there, not even the folder."""
        self.ledger.vault = {False}
        self.ledger.passphrases = {"first"}

    def live(self, root: Path, tell: Tell) -> None:
        """Made, where it is not there."""
        store = DiskStore(root / VAULT)
        if not (root / VAULT / "vault.json").exists():
            tell("creating")
            create_vault(store, b"first")
            tell("created")
        self.protect(as_small(store, unlock_with_passphrase(store, b"first")), tell)

    def look(self, store: Noted, found: Found) -> SmallVault | None:
        """No vault, or a whole one."""
        try:
            return super().look(store, found)
        except NotFound:
            found.there = False
            return None

"""The private side of a vault: unlocking it, and changing its passphrase or its key without rewriting data."""

from __future__ import annotations

from collections.abc import Callable

from knowngood.core.errors import Damaged, KnowngoodError, Locked
from knowngood.core.ports import Store
from knowngood.seal.keys import PassphraseLock, PrivateKey
from knowngood.vault.descriptor import (
    KeyFile,
    naming_purpose,
    previous_purpose,
    read_descriptor,
    read_key_files,
    write_key_file,
)
from knowngood.vault.layout import KEYS
from knowngood.vault.vault import WriterKey


def unlock_with_passphrase(store: Store, passphrase: bytes) -> PrivateKey:
    """The private key, by passphrase, from any of the vault's key files. Raises Locked.

    An interrupted init leaves the key file of a vault that never was, an interrupted rotation the one it replaces:
    a key counts that opens this vault's naming secret, and of those the one that knows the most previous keys.
    """
    failure: KnowngoodError = _no_key_file()
    purpose = naming_purpose(read_descriptor(store).vault_id)
    for key in sorted(read_key_files(store), key=lambda key: -len(key.previous)):
        try:
            private = key.unlock(passphrase)
            private.open(key.naming, purpose)
            return _with_previous(store, private, key)
        except (Damaged, Locked) as wrong:
            failure = wrong if isinstance(wrong, Locked) else failure
    raise failure


def unlock_with_recovery_key(store: Store, recovery_key: bytes) -> PrivateKey:
    """The private key from the 32 bytes of a recovery kit. Raises Locked when it is not of this vault."""
    private = PrivateKey(recovery_key)
    return _with_previous(store, private, _own_file(store, private))


def _no_key_file() -> Locked:
    return Locked(
        "no key file of this vault can be read",
        hint="write one anew with: knowngood vault keys restore --vault DIR --recovery-key-file FILE",
    )


def _own_file(store: Store, private: PrivateKey) -> KeyFile:
    keys = read_key_files(store)
    for key in keys:
        if key.public == private.public:
            return key
    if not keys:
        raise _no_key_file()
    raise Locked("this recovery key does not belong to this vault", hint="compare the vault id with the one in the kit")


def _with_previous(store: Store, private: PrivateKey, key: KeyFile) -> PrivateKey:
    purpose = previous_purpose(read_descriptor(store).vault_id)
    private.previous = tuple(PrivateKey(private.open(each, purpose)) for each in key.previous)
    return private


def writer_key(store: Store, private: PrivateKey) -> WriterKey:
    """What a writer needs, got with the private key. Raises Locked when the key is not of this vault."""
    descriptor = read_descriptor(store)
    naming = private.open(_own_file(store, private).naming, naming_purpose(descriptor.vault_id))
    return WriterKey(descriptor.vault_id, private.public, naming)


def change_passphrase(store: Store, private: PrivateKey, passphrase: bytes | None) -> None:
    """Lock the private key under another passphrase, or take it out of the vault (None: kept off-line)."""
    key = _own_file(store, private)
    lock = PassphraseLock.close(private.recovery_key, passphrase) if passphrase is not None else None
    write_key_file(store, KeyFile(key.public, key.naming, lock, key.previous), replace=True)


def rotate(
    store: Store, private: PrivateKey, passphrase: bytes | None, keep: Callable[[PrivateKey], None] = lambda _: None
) -> PrivateKey:
    """Replace the vault's key pair: new packs are sealed to the new one, old ones stay readable through it.

    The old key file goes, and with it the old passphrase. Data is not rewritten: who has the old private key can still
    open what was sealed to it. `keep` is called with the new key before the old one goes: wherever this run ends,
    one of the two is somewhere.
    """
    vault_id = read_descriptor(store).vault_id
    naming = writer_key(store, private).naming
    there = [each.key for each in store.list(KEYS)]  # also what interrupted rotations left
    new = PrivateKey.generate()
    new.previous = (private, *private.previous)
    sealed = tuple(new.public.seal(each.recovery_key, previous_purpose(vault_id)) for each in new.previous)
    lock = PassphraseLock.close(new.recovery_key, passphrase) if passphrase is not None else None
    write_key_file(store, KeyFile(new.public, new.public.seal(naming, naming_purpose(vault_id)), lock, sealed))
    keep(new)
    for key in there:
        store.delete(key)
    return new

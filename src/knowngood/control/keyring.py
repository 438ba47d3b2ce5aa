"""The keys of a home as files: the writer's key, and the unlocking key where its owner keeps it on this machine."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from blake3 import blake3

from knowngood.control.files import read_bounded, sync_folder
from knowngood.control.home import Home
from knowngood.core.errors import Damaged, Locked, NotFound, UsageError
from knowngood.core.ports import Store
from knowngood.seal.keys import PrivateKey, PublicKey, parse_recovery_text, recovery_text
from knowngood.vault.unlock import unlock_with_passphrase, unlock_with_recovery_key
from knowngood.vault.vault import WriterKey

_LIMIT = 64 << 10
_GIVE = "give the recovery key of the kit with --recovery-key-file FILE"


class Secrets:
    """Where a passphrase or a recovery key comes from when one is needed. Each returns None when there is none."""

    def __init__(
        self,
        passphrase: Callable[[], bytes | None] = lambda: None,
        recovery_key: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        self.passphrase = passphrase
        self.recovery_key = recovery_key


def save_writer(home: Home, writer: WriterKey) -> None:
    """Keep a writer's key in the home, readable by its owner only. Raises Exists."""
    document = {
        "what": "knowngood writer key: names and seals for one vault; cannot read it",
        "vault": writer.vault_id.hex(),
        "public": base64.b64encode(writer.public.raw).decode(),
        "naming": base64.b64encode(writer.naming).decode(),
    }
    document["checksum"] = _checksum(document)
    home.write_private(home.writer_key, json.dumps(document, indent=2).encode() + b"\n", replace=True)


def _checksum(document: dict[str, str]) -> str:
    """One wrong letter in a key, and all that is sealed with it from then on is lost."""
    text = json.dumps({name: document[name] for name in sorted(document) if name != "checksum"})
    return blake3(text.encode()).hexdigest()


def _writer(document: dict[str, str]) -> WriterKey:
    if document["checksum"] != _checksum(document):
        raise ValueError("the checksum is wrong")
    public = PublicKey(base64.b64decode(document["public"]))
    return WriterKey(bytes.fromhex(document["vault"]), public, base64.b64decode(document["naming"]))


def load_writer(home: Home) -> WriterKey:
    """The home's writer key. Raises NotFound, Damaged."""
    try:
        return _writer(json.loads(read_bounded(home.writer_key, _LIMIT)))
    except NotFound:
        raise NotFound(
            f"the home {home.path} has no key of a vault",
            hint="make a vault with: knowngood init; or join one with: knowngood init --vault DIR --join",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise Damaged(
            f"the key {home.writer_key} cannot be read",
            hint="move it away, then: knowngood init --vault DIR --join",
        ) from None


def save_unlocking(home: Home, private: PrivateKey) -> None:
    """Keep the private key in the home, so that recovery asks for nothing."""
    home.write_private(home.unlocking_key, recovery_text(private.recovery_key).encode() + b"\n", replace=True)


def forget_unlocking(home: Home) -> None:
    """Remove the private key from the home; no error when it is not there."""
    with suppress(FileNotFoundError):
        os.unlink(home.unlocking_key)
        sync_folder(home.keys)


def private_key(home: Home, store: Store, secrets: Secrets) -> PrivateKey:
    """The private key: from the recovery key that is given, the home, or the passphrase. Raises Locked."""
    if (given := secrets.recovery_key()) is not None:
        return _unlocked(home, store, given)
    if (kept := _kept_key(home)) is not None:
        return _unlocked(home, store, kept)
    passphrase = secrets.passphrase()
    if passphrase is None:
        raise Locked(
            "reading from this vault takes its passphrase or its recovery key",
            hint="give one with --passphrase-file FILE or --recovery-key-file FILE, or run it on a terminal",
        )
    return unlock_with_passphrase(store, passphrase)


def bare_key(home: Home, secrets: Secrets, replaced: Sequence[bytes] = ()) -> PrivateKey:
    """The private key with no help from the vault: the recovery key that is given, or the one in the home.

    `replaced` are recovery keys that it replaced, newest first. Raises Locked when neither is there.
    """
    recovery_key = given if (given := secrets.recovery_key()) is not None else _kept_key(home)
    if recovery_key is None:
        raise Locked("this takes the recovery key: no passphrase stands in for it", hint=_GIVE)
    private = PrivateKey(recovery_key)
    private.previous = tuple(map(PrivateKey, replaced))
    return private


def _unlocked(home: Home, store: Store, recovery_key: bytes) -> PrivateKey:
    try:
        return unlock_with_recovery_key(store, recovery_key)
    except Locked:
        # The vault may have lost its key file. What was sealed to this key opens all the same, only not what was
        # sealed to those that it replaced.
        private = PrivateKey(recovery_key)
        with suppress(NotFound, Damaged):
            if load_writer(home).public == private.public:
                return private
        raise


def _kept_key(home: Home) -> bytes | None:
    """The recovery key that lies in the home, None when there is none. Raises Damaged."""
    try:
        return parse_recovery_text(read_bounded(home.unlocking_key, _LIMIT).decode("ascii", "replace"))
    except NotFound:
        return None
    except UsageError:
        raise Damaged(
            f"the key {home.unlocking_key} cannot be read",
            hint="move it away, and use the passphrase or the recovery key of the kit",
        ) from None

"""A vault's descriptor and key files: small JSON objects, each stored twice, each with a checksum."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from blake3 import blake3

from knowngood.core.errors import Damaged, Exists, KnowngoodError, Locked, NotFound, StoreFailed, Unsupported
from knowngood.core.ids import ID_BYTES
from knowngood.core.ports import Store
from knowngood.seal.chunker import ChunkSizes
from knowngood.seal.frame import RAW_LIMIT
from knowngood.seal.keys import PassphraseLock, PrivateKey, PublicKey
from knowngood.vault.layout import DESCRIPTOR, DESCRIPTOR_COPY, KEYS, key_file

FORMAT = 1
LOG = "log"
FOLD = "fold"
PARITY = "parity"
KNOWN_FEATURES: frozenset[str] = frozenset({LOG, FOLD, PARITY})
OPERATIONS = ("read", "write", "delete", "check")
FEATURES = {each: (LOG, FOLD, PARITY) if each == "delete" else (LOG, FOLD) for each in OPERATIONS}
"""What a new vault asks of programs. Parity concerns only who deletes: nothing may go that a parity set still has."""

_MAGIC = "knowngood vault"
_Size = Annotated[int, msgspec.Meta(ge=64, le=RAW_LIMIT)]
_KDF = "argon2id"


def _checked(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return (
        json.dumps(document | {"checksum": blake3(text.encode()).hexdigest()}, indent=2, sort_keys=True).encode()
        + b"\n"
    )


def unchecked(data: bytes) -> dict[str, Any]:
    """A descriptor or key file as a document. Raises Damaged."""
    try:
        document = json.loads(data)
        claimed = document.pop("checksum")
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged("a descriptor of the vault cannot be read") from None
    if blake3(text.encode()).hexdigest() != claimed:
        raise Damaged("a descriptor of the vault is damaged")
    return document


def _read_either(store: Store, key: str, copy: str) -> dict[str, Any]:
    failure: KnowngoodError = NotFound(f"the vault has no '{key}'")
    for each in (key, copy):
        try:
            return unchecked(store.get(each))
        except (NotFound, Damaged, StoreFailed) as wrong:
            failure = wrong if not isinstance(wrong, NotFound) or isinstance(failure, NotFound) else failure
    raise failure


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What has to be known before anything else of a vault can be read."""

    vault_id: bytes
    sizes: ChunkSizes
    created: str
    features: dict[str, tuple[str, ...]]

    def encode(self) -> bytes:
        """As stored."""
        return _checked(
            {
                "magic": _MAGIC,
                "format": FORMAT,
                "id": self.vault_id.hex(),
                "created": self.created,
                "chunks": [self.sizes.minimum, self.sizes.average, self.sizes.maximum],
                "features": {name: list(self.features.get(name, ())) for name in OPERATIONS},
            }
        )

    def require(self, operation: str) -> None:
        """Raise Unsupported when this version does not know a feature that the operation needs."""
        unknown = set(self.features.get(operation, ())) - KNOWN_FEATURES
        if unknown:
            raise Unsupported(
                f"to {operation} this vault takes features this version does not know: {', '.join(sorted(unknown))}",
                hint="install a newer knowngood",
            )


class _Told(msgspec.Struct):
    """What the document has to say, whoever wrote it."""

    id: str
    created: str
    chunks: tuple[_Size, _Size, _Size]
    features: dict[str, tuple[str, ...]]

    def descriptor(self) -> Descriptor:
        """Raises ValueError when it cannot be."""
        if len(self.id) != 2 * ID_BYTES or list(self.chunks) != sorted(self.chunks):
            raise ValueError("impossible")
        features = {name: self.features.get(name, ()) for name in OPERATIONS}
        return Descriptor(bytes.fromhex(self.id), ChunkSizes(*self.chunks), self.created, features)


def read_descriptor(store: Store) -> Descriptor:
    """The vault's descriptor, from either copy. Raises NotFound (no vault), Damaged, Unsupported (newer)."""
    return _descriptor(_read_either(store, DESCRIPTOR, DESCRIPTOR_COPY))


def decode_descriptor(data: bytes) -> Descriptor:
    """A descriptor as stored. Raises Damaged, Unsupported (newer)."""
    return _descriptor(unchecked(data))


def _descriptor(document: dict[str, Any]) -> Descriptor:
    if document.get("magic") != _MAGIC:
        raise Damaged("the folder holds a vault.json that is not of a Knowngood vault")
    if document.get("format") != FORMAT:
        raise Unsupported(
            f"the vault has format {document.get('format')}; this version reads format {FORMAT}",
            hint="install a newer knowngood",
        )
    try:
        return msgspec.convert(document, _Told).descriptor()
    except (msgspec.ValidationError, ValueError):
        raise Damaged("the vault's descriptor does not say what it should") from None


def write_descriptor(store: Store, descriptor: Descriptor) -> None:
    """Store both copies; the first put decides who made the vault. Raises Exists."""
    store.put(DESCRIPTOR, [descriptor.encode()])
    store.put(DESCRIPTOR_COPY, [descriptor.encode()])


@dataclass(frozen=True, slots=True)
class KeyFile:
    """One of a vault's keys: the public half, the naming secret sealed to it, and the private half under a passphrase.

    `lock` is None when the private half is kept off-line only. `previous` are the recovery keys that this one replaced,
    sealed to it, newest first: what they sealed stays readable and is not rewritten.
    """

    public: PublicKey
    naming: bytes
    lock: PassphraseLock | None
    previous: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """As stored."""
        lock = self.lock and {
            "kdf": _KDF,
            "salt": base64.b64encode(self.lock.salt).decode(),
            "sealed": base64.b64encode(self.lock.sealed).decode(),
            "iterations": self.lock.iterations,
            "lanes": self.lock.lanes,
            "memory-kib": self.lock.memory_kib,
        }
        return _checked(
            {
                "public": base64.b64encode(self.public.raw).decode(),
                "naming": base64.b64encode(self.naming).decode(),
                "lock": lock,
                "previous": [base64.b64encode(each).decode() for each in self.previous],
            }
        )

    @classmethod
    def decode(cls, document: dict[str, Any]) -> KeyFile:
        """From its document. Raises Damaged."""
        try:
            kdf = document["lock"] and document["lock"]["kdf"]
            lock = document["lock"] and PassphraseLock(
                salt=base64.b64decode(document["lock"]["salt"]),
                sealed=base64.b64decode(document["lock"]["sealed"]),
                iterations=document["lock"]["iterations"],
                lanes=document["lock"]["lanes"],
                memory_kib=document["lock"]["memory-kib"],
            )
            public = PublicKey(base64.b64decode(document["public"]))
            naming = base64.b64decode(document["naming"])
            previous = tuple(base64.b64decode(each) for each in document["previous"])
        except (KeyError, TypeError, ValueError):
            raise Damaged("a key file of the vault cannot be read") from None
        if kdf not in (None, _KDF):
            raise Damaged(f"a key file locks its key in a way that this version does not know: {kdf}")
        return cls(public, naming, lock, previous)

    def unlock(self, passphrase: bytes) -> PrivateKey:
        """The private half. Raises Locked."""
        if self.lock is None:
            raise Locked(
                "this vault's private key is kept off-line", hint="give the recovery key with --recovery-key-file"
            )
        return PrivateKey(self.lock.open(passphrase))


def previous_purpose(vault_id: bytes) -> bytes:
    """What a replaced recovery key is bound to when it is sealed to its successor."""
    return b"knowngood previous key " + vault_id


def naming_purpose(vault_id: bytes) -> bytes:
    """What a naming secret is bound to when it is sealed."""
    return b"knowngood naming secret " + vault_id


def read_key_files(store: Store) -> list[KeyFile]:
    """Every key file that can be read, from either copy."""
    found: list[KeyFile] = []
    for pair in _key_pairs(store):
        with suppress(Damaged, NotFound, StoreFailed):  # another key may do; the caller says what is missing
            found.append(KeyFile.decode(_read_either(store, *pair)))
    return found


def _key_pairs(store: Store, *, settled: bool = False) -> list[tuple[str, str]]:
    stems = {each.key.removesuffix(".json").removesuffix(".copy") for each in store.list(KEYS, settled=settled)}
    return [(f"{stem}.json", f"{stem}.copy.json") for stem in sorted(stems)]


def small_objects(store: Store, *, settled: bool = False) -> list[tuple[str, str]]:
    """The keys of everything that is kept twice: descriptor and key files."""
    return [(DESCRIPTOR, DESCRIPTOR_COPY), *_key_pairs(store, settled=settled)]


def mend_copies(store: Store) -> list[str]:
    """Make copies that are damaged or missing anew from the other one. Returns their keys."""
    mended: list[str] = []
    for pair in small_objects(store, settled=True):
        for key, other in (pair, reversed(pair)):
            with suppress(Damaged, NotFound, StoreFailed, Exists):  # the other one is no better; somebody was faster
                try:
                    unchecked(store.get(key))
                except (Damaged, NotFound):
                    good = _checked(unchecked(store.get(other)))
                    store.delete(key)
                    store.put(key, [good])
                    mended.append(key)
    return mended


def write_key_file(store: Store, key: KeyFile, *, replace: bool = False) -> None:
    """Store both copies of a key file. With `replace` (a new passphrase), one copy is there at every moment."""
    if replace:
        list(store.list(KEYS, settled=True))  # the copy that stays meanwhile has to outlive a power cut
    for copy in (".copy", ""):
        name = key_file(key.public.fingerprint, copy)
        if replace:
            store.delete(name)
        store.put(name, [key.encode()])

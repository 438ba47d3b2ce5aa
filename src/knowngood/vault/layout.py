"""Where things lie in a vault: the keys of its objects (docs/format.md, section Layout)."""

from __future__ import annotations

from knowngood.core.errors import Damaged

DESCRIPTOR = "vault.json"
DESCRIPTOR_COPY = "vault.copy.json"
KEYS = "keys/"
PACKS = "packs/"
PAGES = "pages/"
SEGMENTS = "segments/"
INDEX = "index/"
COMMITS = "commits/"
SESSIONS = "sessions/"
EPOCHS = "epochs/"
RESERVE = "reserve/"
PARITY_PACKS = "parity/packs/"
PARITY_LOGS = "parity/logs/"
HEALED = "healed/"

PACK_FOLDERS = {1: PACKS, 2: PAGES, 3: SEGMENTS}
INDEXED = (1, 2)  # the kinds of packs whose names are in the index


def pack_key(kind: int, name: bytes) -> str:
    """The key of a pack; folders of 256 keep listings short."""
    text = name.hex()
    return f"{PACK_FOLDERS[kind]}{text[:2]}/{text}"


def name_in(key: str) -> bytes:
    """The name at the end of a pack's or run's key. Raises Damaged when neither can have this key."""
    try:
        return bytes.fromhex(key.rpartition("/")[2])
    except ValueError:
        raise Damaged(f"'{key}' is no object of a vault", hint="move the strange file out of the vault") from None


def parity_key(folder: str, name: bytes) -> str:
    """The key of a parity object in one of the two folders."""
    text = name.hex()
    return f"{folder}{text[:2]}/{text}"


def healed_key(name: bytes) -> str:
    """Where a healed object waits until it has taken its place; its name is the BLAKE3 of its bytes."""
    return f"{HEALED}{name.hex()}"


def run_key(name: bytes) -> str:
    """The key of an index run."""
    return f"{INDEX}{name.hex()}"


def commit_key(session: bytes, number: int) -> str:
    """The key of a session's commit: whoever puts it first, the writer or a fence, decides."""
    return f"{COMMITS}{session.hex()}.{number:08d}"


def commit_place(key: str) -> tuple[bytes, int]:
    """The session and number that a commit's key says. Raises Damaged when neither can have this key."""
    session, _, number = key.rpartition("/")[2].partition(".")
    try:
        return bytes.fromhex(session), int(number)
    except ValueError:
        raise Damaged("a commit lies under an impossible key") from None


def session_key(session: bytes) -> str:
    """The key under which a session announces itself."""
    return f"{SESSIONS}{session.hex()}"


def epoch_key(number: int) -> str:
    """The key of an epoch: put-if-absent makes its number a lock."""
    return f"{EPOCHS}{number:016d}"


def key_file(fingerprint: bytes, copy: str = "") -> str:
    """The key of a key file."""
    return f"{KEYS}{fingerprint.hex()[:16]}{copy}.json"

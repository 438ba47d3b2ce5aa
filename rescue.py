"""Rescue: restores from a Knowngood vault with this file, the vault's folder and a key, and nothing else.

    python rescue.py VAULT --recovery-key-file F | --passphrase-file F  list
    python rescue.py VAULT --recovery-key-file F | --passphrase-file F  restore POINT|latest --to DIR [--component C]

It reads packs and commits, neither index nor epochs. It restores points; that a vault also holds logs of what changed
between them, it says. It was written from docs/format.md, whose sections its comments name, and shares no code with the
program. Past damage it goes on, lists what it could not restore, and ends with status 3. It needs Python 3.11, blake3
and cryptography; before Python 3.14 also backports.zstd.
"""

from __future__ import annotations

import argparse
import base64
import json
import mmap
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIMIT = 64 << 20
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
# MessagePack (section 1): the format of the number or length that follows a first byte
SIZES = {0xC4 + n: f">{code}" for n, code in enumerate("BHI   fdBHIQbhiq")}
SIZES |= {0xD9 + n: f">{code}" for n, code in enumerate("BHIHIHI")}
ROW = ("mode", "uid", "gid", "links", "size", "mtime", "ctime", "inode")
EXTRA = {"lengths": [], "extents": b"", "xattrs": [], "flags": 0, "rdev": 0}


class Bad(Exception):
    """Something is damaged, missing or impossible; the message says what."""


UNREADABLE = (Bad, InvalidTag, LookupError, ValueError, TypeError, StopIteration, OSError, struct.error, zstd.ZstdError)


def unpack(data: bytes, at: int = 0) -> tuple[Any, int]:
    """One MessagePack value, and where it ends."""
    first, at = data[at], at + 1
    if first < 0x80 or first >= 0xE0:
        return first - 256 * (first >= 0xE0), at
    if 0xC0 <= first <= 0xC3:
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first < 0xC0:
        kind, count = ("map", "array", "str", "str")[(first >> 4) - 8], first & (31 if first >= 0xA0 else 15)
    else:
        (count,) = struct.unpack_from(SIZES[first], data, at)
        at += struct.calcsize(SIZES[first])
        if 0xCA <= first <= 0xD3:
            return count, at
        kind = "bin" if first < 0xCA else "str" if first < 0xDC else "array" if first < 0xDE else "map"
    if kind in ("bin", "str"):
        raw = data[at : at + count]
        return raw if kind == "bin" else raw.decode(), at + len(raw)
    items = []
    for _ in range(count * 2 if kind == "map" else count):
        item, at = unpack(data, at)
        items.append(item)
    return dict(zip(items[::2], items[1::2], strict=True)) if kind == "map" else items, at


def derive(context: str, secret: bytes) -> bytes:
    """32 bytes from a secret, for one use (section 4)."""
    return blake3(secret, derive_key_context="knowngood 2026-11 " + context).digest()


class PrivateKey:
    """What follows from a recovery key (section 4)."""

    def __init__(self, recovery_key: bytes) -> None:
        seed = b"".join(derive(f"recovery key to ML-KEM-768 seed {part}", recovery_key) for part in "dz")
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
        exchange = x25519.X25519PrivateKey.from_private_bytes(derive("recovery key to X25519 key", recovery_key))
        self._key = hpke.MLKEM768X25519PrivateKey(kem, exchange)
        public = kem.public_key().public_bytes_raw() + exchange.public_key().public_bytes_raw()
        self.fingerprint = blake3(public).digest()

    def open(self, sealed: bytes, purpose: bytes) -> bytes:
        """A secret that was sealed to this key for a purpose."""
        return SUITE.decrypt(sealed, self._key, info=b"knowngood " + purpose)


def parse_recovery_key(text: str) -> bytes:
    """The text of a recovery kit → 32 bytes."""
    letters = "".join(text.upper().translate(str.maketrans("018-", "OIB ")).split())
    with suppress(ValueError):
        secret = base64.b32decode(letters[:52] + "====")
        if base64.b32encode(derive("kit checksum", secret))[:4].decode() == letters[52:]:
            return secret
    raise Bad("this is not a recovery key, or a letter of it is wrong")


def unlock(lock: dict[str, Any], passphrase: bytes) -> bytes:
    """The recovery key in a passphrase lock."""
    if lock["kdf"] != "argon2id" or max(lock["iterations"], lock["lanes"], lock["memory-kib"] >> 16) > 64:
        raise Bad("a passphrase lock is of an unknown kind")
    cost = {"iterations": lock["iterations"], "lanes": lock["lanes"], "memory_cost": lock["memory-kib"]}
    key = Argon2id(salt=base64.b64decode(lock["salt"]), length=32, **cost).derive(passphrase)
    return AESGCM(key).decrypt(bytes(12), base64.b64decode(lock["sealed"]), b"knowngood")


def document(path: Path) -> dict[str, Any]:
    """A descriptor or key file (section 3): the first copy whose checksum is right."""
    for each in (path, path.with_suffix(".copy.json")):
        with suppress(*UNREADABLE):
            found = json.loads(each.read_bytes())
            claimed = found.pop("checksum")
            if blake3(json.dumps(found, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == claimed:
                return found
    raise Bad(f"{path.name} is missing or damaged, and so is its copy")


def map_file(path: Path) -> mmap.mmap:
    """A file, without reading it yet."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def frame_end(data: bytes | mmap.mmap, at: int) -> int:
    """Where the frame that begins here ends (section 5); 0 if none can begin here."""
    if at + 64 > len(data) or data[at : at + 4] != b"KGF1":
        return 0
    names, refs, raw, stored = struct.unpack_from("<4I", data, at + 12)
    end = at + 64 + 32 * (names + refs) + stored
    return end if names + refs <= 1 << 17 and max(raw, stored - 16) <= LIMIT and end <= len(data) else 0


class Frame:
    """The frame that begins here, still closed."""

    def __init__(self, data: bytes | mmap.mmap, at: int) -> None:
        fields = struct.unpack_from("<4xxBHIIIII16s", data, at)
        self._codec, self._flags, self._sequence, names, refs, self._raw, _, self.key_id = fields
        body_at = at + 64 + 32 * (names + refs)
        listed = [data[n : n + 32] for n in range(at + 64, body_at, 32)]
        self.names, self.refs = listed[:names], listed[names:]
        self._bound, self.body = data[at : at + 48] + data[at + 64 : body_at], data[body_at : frame_end(data, at)]
        self.intact = blake3(self._bound + self.body).digest()[:16] == data[at + 48 : at + 64]

    def open(self, key: AESGCM) -> bytes:
        """The payload."""
        packed = key.decrypt(self._sequence.to_bytes(12, "little"), self.body, self._bound)
        return expand(self._codec if not self._flags else 255, packed, self._raw)


def expand(codec: int, data: bytes, length: int) -> bytes:
    """The payload, of exactly this length and never more."""
    if codec == 1 and length <= LIMIT:
        unzip = zstd.ZstdDecompressor()
        data = unzip.decompress(data, max_length=length)
        while len(data) < length and not (unzip.eof or unzip.needs_input):
            data += unzip.decompress(b"", max_length=length - len(data))
    if codec > 1 or len(data) != length:
        raise Bad("a frame does not hold what its header says, or is of a newer format")
    return data


class Vault:
    """A vault's packs and commits (sections 6, 10) and the keys to them. `lost` lists what cannot be restored."""

    def __init__(self, folder: Path, vault_id: str, recovery_key: bytes, passphrase: bytes) -> None:
        self._folder, self.lost, self._key_frames = folder, list[str](), dict[bytes, Frame]()
        self.segments = 0  # of logs (section 15)
        self._id = bytes.fromhex(vault_id or document(folder / "vault.json")["id"])
        self._keys = {key.fingerprint: key for key in self._private_keys(recovery_key, passphrase)}
        self._places = dict[bytes, list[tuple[Path, int]]]()  # name → (pack, offset) of each frame that has it
        self._map, self._opened = lru_cache(16)(map_file), lru_cache(4)(self._open_frame)
        self._key = lru_cache(4096)(lambda key_id: self._unseal(self._key_frames[key_id]))
        if not self._keys:
            raise Bad("the passphrase opens no key file of this vault")
        for pack in sorted([*folder.glob("packs/*/*"), *folder.glob("pages/*/*")]):
            self.attempt(f"pack {pack.name}", lambda pack=pack: self._walk(pack, self._map(pack)))

    def attempt(self, what: str, act: Callable[[], Any]) -> Any:
        """Do something; when that fails, note what is lost, and go on."""
        try:
            return act()
        except UNREADABLE as wrong:
            self.lost.append(f"{what}: {wrong or type(wrong).__name__}")

    def _private_keys(self, recovery_key: bytes, passphrase: bytes) -> Iterator[PrivateKey]:
        if recovery_key:  # opens packs even where its key file is lost
            yield PrivateKey(recovery_key)
        for stem in sorted({path.name.split(".")[0] for path in self._folder.glob("keys/*.json")}):
            with suppress(*UNREADABLE):  # another key file may do
                file = document(self._folder / "keys" / f"{stem}.json")
                private = PrivateKey(recovery_key or unlock(file["lock"], passphrase))
                yield private
                for each in file["previous"]:
                    yield PrivateKey(private.open(base64.b64decode(each), b"previous key " + self._id))

    def _walk(self, pack: Path, data: mmap.mmap) -> None:
        """Learn where every name lies. Behind a damaged header, the next intact frame is looked for."""
        at = 32
        while 0 <= at < len(data):
            end = frame_end(data, at)
            if not end or not (end == len(data) or frame_end(data, end) or Frame(data, at).intact):
                at = data.find(b"KGF1", at + 1)
                continue
            if data[at + 4] == 3:
                frame = Frame(data, at)
                self._key_frames.setdefault(frame.key_id, frame)
            else:
                for name_at in range(at + 64, at + 64 + 32 * struct.unpack_from("<I", data, at + 12)[0], 32):
                    self._places.setdefault(data[name_at : name_at + 32], []).append((pack, at))
            at = end

    def _unseal(self, frame: Frame) -> AESGCM:
        if frame.names[0] not in self._keys:
            raise Bad("it was sealed to another key: give that recovery key")
        return AESGCM(self._keys[frame.names[0]].open(frame.body, b"content key " + self._id))

    def _open_frame(self, pack: Path, at: int) -> tuple[list[bytes], dict[bytes, bytes]]:
        """References of a frame, and its contents by name."""
        frame = Frame(self._map(pack), at)
        payload, count = frame.open(self._key(frame.key_id)), len(frame.names)
        ends = [4 * count] if count > 1 else [0, len(payload)]
        for length in struct.unpack_from(f"<{count}I", payload) if count > 1 else ():
            ends.append(ends[-1] + length)
        return frame.refs, {name: payload[ends[n] : ends[n + 1]] for n, name in enumerate(frame.names)}

    def get(self, name: bytes) -> tuple[list[bytes], bytes]:
        """References and content of a page or chunk, from the first frame that has it intact."""
        failure = Bad(f"{name.hex()[:16]} is missing")
        for place in self._places.get(name, ()):
            try:
                refs, found = self._opened(*place)
                return refs, found[name]
            except UNREADABLE as wrong:
                failure = Bad(f"{name.hex()[:16]} is damaged ({wrong or type(wrong).__name__})")
        raise failure

    def points(self) -> list[dict[str, Any]]:
        """Every point with its checkpoints, in the order of arrival; `hidden` says whether it has expired."""
        checkpoints, points = dict[bytes, Any](), dict[bytes, Any]()
        opened = [self.attempt(f"commit {path.name}", lambda path=path: self._commit(path.read_bytes()))
                  for path in sorted(self._folder.glob("commits/*"))]  # fmt: skip
        commits = sorted(filter(None, opened), key=lambda each: each[0]["received_ns"])
        for _, hidden in commits:
            checkpoints |= {each["id"]: each for each in hidden.get("checkpoints", ())}
            points |= {each["id"]: each | {"hidden": False} for each in hidden.get("points", ())}
        for record in (record for plain, _ in commits for record in plain["records"]):
            self.segments += record["type"] in ("segment", "folded")
            for each in record["points"] if record["type"] in ("expiry", "undo") else ():
                points.get(each, {})["hidden"] = record["type"] == "expiry"
        for point in points.values():
            wanted = [mark["checkpoint"] for mark in point["marks"]]
            point["checkpoints"] = [checkpoints[each] for each in wanted if each in checkpoints]
            self.lost += [f"a component of point {point['id'].hex()}" for each in wanted if each not in checkpoints]
        return list(points.values())

    def _commit(self, data: bytes) -> tuple[Any, Any]:
        magic, in_plain, in_key, in_sealed, raw = struct.unpack_from("<4s4I", data)
        if magic != b"KGC1" or blake3(data[:-32]).digest() != data[-32:]:
            raise Bad("it is damaged")
        key_at, sealed_at = 20 + in_plain, 20 + in_plain + in_key
        plain, sealed = data[20:key_at], data[sealed_at : sealed_at + in_sealed]
        if not sealed:
            return unpack(plain)[0], {}
        key = self._unseal(Frame(data[key_at:sealed_at], 0))
        opened = key.decrypt(bytes(12), sealed[1:], plain + sealed[:1])
        return unpack(plain)[0], unpack(expand(sealed[0], opened, raw))[0]

    def entries(self, page: bytes) -> Iterator[SimpleNamespace]:
        """The entries below a page, in tree order (section 8)."""
        for each in self.attempt("all that one page of the tree lists", lambda: self._page(page)) or ():
            yield from self.entries(each) if isinstance(each, bytes) else [each]

    def _page(self, page: bytes) -> list[Any]:
        """The entries of a leaf, or the names of a node's children."""
        refs, body = self.get(page)
        kind, blocks = struct.unpack_from("<cxxxI", body)
        found, at = list[Any](refs if kind == b"N" else []), 8
        for _ in range(blocks if kind == b"L" else 0):
            system, in_directory, count, in_names, *others = struct.unpack_from("<7I", body, at)
            columns, at = list[bytes](), at + 28
            for length in (in_directory, in_names, 48 * count, count, *others):
                columns.append(body[at : at + length])
                at += length
            directory, names, rows, contents, numbers, inline, extras = columns
            uses = iter([refs[number] for (number,) in struct.iter_unpack("<I", numbers)])
            extra_of, tiny = unpack(extras)[0] if extras else dict[int, list[Any]](), 0
            for index, name in enumerate(names.split(b"\0")):
                entry = SimpleNamespace(directory=directory, name=name, system=system, content=contents[index])
                entry.path = os.fsdecode(os.path.join(directory.replace(b"\0", b"/"), name))
                vars(entry).update(zip(ROW, struct.unpack_from("<IIIIQqqQ", rows, 48 * index), strict=True))
                vars(entry).update(EXTRA | dict(zip(EXTRA, extra_of.get(index, []), strict=False)))
                uses_of = (0, 1, 0, len(entry.lengths), len(entry.lengths))[entry.content]
                entry.refs = [next(uses) for _ in range(uses_of)]
                entry.inline = inline[tiny : tiny + entry.size] if entry.content == 2 else b""
                entry.extents = list(struct.iter_unpack("<QQ", entry.extents)) or [(0, entry.size)]
                found.append(entry)
                tiny += len(entry.inline)
        return found

    def chunks(self, entry: SimpleNamespace) -> Iterator[tuple[bytes, int]]:
        """Names and lengths of the chunks of a file."""
        for name, length in zip(entry.refs, entry.lengths or [sum(size for _, size in entry.extents)], strict=False):
            if entry.content != 4:
                yield name, length
                continue
            refs, body = self.get(name)
            count = struct.unpack_from("<4xI", body)[0]
            numbers, lengths = (struct.unpack_from(f"<{count}I", body, at) for at in (8, 8 + 4 * count))
            yield from zip([refs[number] for number in numbers], lengths, strict=True)

    def restore(self, root: bytes, base: bytes) -> None:
        """Everything below a root page, as a file or folder that is not there yet. Goes through no symlink."""
        directories, first = list[SimpleNamespace](), dict[tuple[int, int], bytes]()
        for entry in self.entries(root):
            self.attempt(entry.path, lambda entry=entry: self._create(entry, place(base, entry), first))
            directories += [entry] if stat.S_ISDIR(entry.mode) else []
        for entry in reversed(directories):  # from below, since what is made inside changes a directory's time
            self.attempt(entry.path, lambda entry=entry: self._attributes(entry, place(base, entry)))

    def _create(self, entry: SimpleNamespace, path: bytes, first: dict[tuple[int, int], bytes]) -> None:
        if stat.S_ISDIR(entry.mode):
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
            return
        twin = (entry.system, entry.inode) if entry.links > 1 and stat.S_ISREG(entry.mode) else None
        if twin in first:  # a hard link: another name of a file that is there
            os.link(first[twin], path, follow_symlinks=False)
            return
        if stat.S_ISLNK(entry.mode):
            os.symlink(entry.inline, path)
        elif stat.S_ISREG(entry.mode):
            with open(path, "xb") as file:
                self.attempt(entry.path, lambda: self._fill(entry, file))
        else:
            os.mknod(path, stat.S_IFMT(entry.mode) | 0o600, entry.rdev)
        if twin:
            first[twin] = path
        self._attributes(entry, path)

    def _fill(self, entry: SimpleNamespace, file: BinaryIO) -> None:
        """Write the data of a file where it belongs. What is lost of it stays a hole, and is listed."""
        file.truncate(entry.size)
        file.write(entry.inline)
        room, offset, left = iter(entry.extents), 0, 0
        for name, length in self.chunks(entry):
            data, at = self.attempt(f"{entry.path}: {length} bytes", lambda name=name: self.get(name)[1]), 0
            while at < length:
                offset, left = (offset, left) if left else next(room, (0, 0))
                count = min(left, length - at)
                if not count:
                    raise Bad("there is more content than room for it")
                file.seek(offset)
                file.write(data[at : at + count] if data else b"")
                at, offset, left = at + count, offset + count, left - count

    def _attributes(self, entry: SimpleNamespace, path: bytes) -> None:
        """Owner, extended attributes, mode, time: in this order, since the first ones change the later ones."""
        if os.path.islink(path) != stat.S_ISLNK(entry.mode):
            raise Bad("something else has its name")
        root = os.geteuid() == 0
        if root:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        for key, value in entry.xattrs if root else [each for each in entry.xattrs if each[0].startswith(b"user.")]:
            lost, setting = f"{entry.path}: attribute {os.fsdecode(key)}", (path, key, value)
            self.attempt(lost, lambda setting=setting: os.setxattr(*setting, follow_symlinks=False))
        if not stat.S_ISLNK(entry.mode):
            os.chmod(path, entry.mode & (0o7777 if root else 0o1777))  # setuid for another owner would be a gift
        os.utime(path, ns=(entry.mtime, entry.mtime), follow_symlinks=False)


def place(base: bytes, entry: SimpleNamespace) -> bytes:
    """Where an entry goes, and nowhere outside. Directories that are missing on the way are made."""
    path, parts = base, [*filter(None, entry.directory.split(b"\0")), entry.name]
    for part in parts if parts != [b"."] else []:
        if part in (b"", b".", b"..") or b"/" in part or os.path.islink(path):
            raise Bad("its path would lead out of the target")
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        path = os.path.join(path, part)
    return path


def run(vault: Vault, given: argparse.Namespace) -> None:
    """List, or restore the point whose id begins so, or the latest that has not expired."""
    points = vault.points()
    if given.verb == "list":
        for each in points:
            names = ", ".join(checkpoint["component"] for checkpoint in each["checkpoints"])
            moment = datetime.fromtimestamp(each["moment_ns"] // 10**9, UTC).isoformat()
            status = "expired" if each["hidden"] else each["status"]
            print(each["id"].hex(), moment, each["service"], f"[{names}]", status, each["name"])
        return
    kept = [each for each in points if not each["hidden"]]
    latest = kept[-1:] if len({each["service"] for each in kept}) == 1 else []
    found = latest if given.point == "latest" else [x for x in points if x["id"].hex().startswith(given.point)]
    if len(found) != 1:
        raise Bad(f"'{given.point}' does not name one point: choose from the list")
    chosen = [each for each in found[0]["checkpoints"] if given.component in (None, each["component"])]
    for each in chosen:
        base = given.to / each["component"]
        if each["component"] in ("", ".", "..") or "/" in each["component"] or os.path.lexists(base):
            raise Bad(f"cannot restore to {base}: it is there already, or no name")
        given.to.mkdir(parents=True, exist_ok=True)
        vault.restore(each["root"], os.fsencode(base))
    if not chosen:
        raise Bad("the point has no such component")


def main() -> int:
    """The command line."""
    words = argparse.ArgumentParser(description="Restore from a Knowngood vault, with a key and nothing else.")
    words.add_argument("vault", type=Path)
    key = words.add_mutually_exclusive_group(required=True)
    key.add_argument("--recovery-key-file", type=Path)
    key.add_argument("--passphrase-file", type=Path)
    words.add_argument("--vault-id", default="", help="from the recovery kit, should both descriptors be damaged")
    words.add_argument("verb", choices=("list", "restore"))
    words.add_argument("point", nargs="?", default="latest", help="the beginning of its id, or: latest")
    words.add_argument("--to", type=Path, default=Path("rescued"))
    words.add_argument("--component")
    given = words.parse_intermixed_args()
    try:
        recovery = given.recovery_key_file and parse_recovery_key(given.recovery_key_file.read_text())
        passphrase = b"" if recovery else given.passphrase_file.read_bytes().split(b"\n")[0].rstrip(b"\r")
        vault = Vault(given.vault, given.vault_id, recovery or b"", passphrase)
        run(vault, given)
    except UNREADABLE as wrong:
        print(f"rescue: {wrong or type(wrong).__name__}", file=sys.stderr)
        return 1
    print("".join(f"lost: {each}\n" for each in vault.lost), file=sys.stderr, end="")
    if vault.segments:
        print(f"note: {vault.segments} segments of logs hold more changes; they are not replayed", file=sys.stderr)
    return 3 if vault.lost else 0


if __name__ == "__main__":
    sys.exit(main())

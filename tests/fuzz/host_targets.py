"""What people write, and what lies in a home."""

from __future__ import annotations

import random
import tempfile
import zlib
from pathlib import Path

from blake3 import blake3

from knowngood.control.documents import parse_document
from knowngood.control.forms import read_config, read_policy, read_service
from knowngood.core.errors import KnowngoodError
from knowngood.core.instants import parse_when
from knowngood.core.log import Operation
from knowngood.kinds.files.journal import entries
from knowngood.seal.frame import read_frame
from knowngood.testing.logs import TIMELINE
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.spool import FILE, Spool
from tests.fuzz.target import Target
from tests.unit.vault.test_spool import Spooled

_SERVICE = b"""\
description: the shop
components:
  uploads: {kind: files, path: /srv/shop/uploads, exclude: ['*.tmp']}
  db: {kind: postgres, path: /run/postgresql}
policy:
  rpo: 5m
  keep: {any-moment: 48h, hourly: 7d, daily: 30d}
  undo: 7d
order: [db, uploads]
"""
_TOML = b'[components.uploads]\nkind = "files"\npath = "/srv"\n[policy]\nrpo = "5m"\n'
_BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + at, 98 + at, b",".join([b"*%c" % (97 + at)] * 9)) for at in range(8)
)


def _document(form: str) -> Target:
    def parse(data: bytes) -> None:
        document = parse_document(data, "services/shop", form)
        for read in (read_service, read_policy, read_config):
            try:
                read(document)
            except KnowngoodError:
                continue

    samples = [_SERVICE, _BOMB, b"[" * 300, b"a: !!python/object:os.system x"] if form == "yaml" else [_TOML]
    return Target(form, samples, parse, memory=32 << 20)


def _journal_sample() -> bytes:
    made = [entries.draft(Operation.WRITE, 5, b"a/b", data=b"text" * at) for at in range(4)]
    return b"".join(bytes(part) for at, each in enumerate(made) for part in entries.pack(at, each))


def _journal(data: bytes) -> None:
    at, number = 0, 0
    while at < len(data):
        entry, at = entries.unpack(data, at, number)
        entry.record(number)
        number += 1


def _mend_journal(data: bytes) -> bytes:
    """The checksum of each entry that is not longer than what is there."""
    made, at = bytearray(data), 0
    while at + entries.HEAD.size <= len(made):
        _, text, more, _ = entries.HEAD.unpack_from(made, at)
        end = at + entries.HEAD.size + text + more
        if end > len(made):
            break
        made[at : at + 4] = zlib.crc32(made[at + 4 : end]).to_bytes(4, "little")
        at = end
    return bytes(made)


def _mend_spool(data: bytes) -> bytes:
    """The checksum of each block, which covers that of the one before."""
    made, at, seal = bytearray(data), 0, bytes(16)
    while at + 28 <= len(made):
        end = at + 28 + int.from_bytes(made[at + 8 : at + 12], "little")
        if end > len(made):
            break
        seal = blake3(seal + made[at : at + 12] + made[at + 28 : end]).digest()[:16]
        made[at + 12 : at + 28] = seal
        at = end
    return bytes(made)


def _spool() -> Target:
    small = SmallVault(MemoryStore())
    with tempfile.TemporaryDirectory() as made:
        spooled = Spooled(Path(made), small)
        for _ in range(3):
            spooled.add()
        spooled.spool.close()
        sample = Path(made, FILE).read_bytes()

    def parse(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, FILE).write_bytes(data)
            spool = Spool(folder, small.vault.id, TIMELINE)
            try:
                for tick in spool.ticks:
                    for _, body in spool.read(tick):
                        read_frame(body)
                assert spool.records >= 0
            finally:
                spool.close()

    return Target("spool", [sample], parse, mend=_mend_spool)


def host_targets() -> list[Target]:
    """All of them."""
    instants = [b"yesterday 18:00", b"2026-11-27T10:11:12.5+02:00", b"14:02", b"latest"]
    now = random.Random(1).randrange(10**18, 2 * 10**18)
    return [
        _document("yaml"),
        _document("toml"),
        Target("journal", [_journal_sample()], _journal, (entries.Torn,), mend=_mend_journal),
        _spool(),
        Target("moment", instants, lambda data: parse_when(data.decode("latin1"), now=now)),
    ]

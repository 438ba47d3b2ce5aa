"""Headers of the archives of a base: what tar writes is read, and what leads out of the folder is not."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire.ustar import BLOCK, Type, parse


def header(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """What another program writes."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode, info.mtime = size, kind, target, 0o640, 1_700_000_000
    return info.tobuf(tarfile.USTAR_FORMAT if size < 8 << 30 else tarfile.GNU_FORMAT)[:BLOCK]


def test_files_folders_and_links() -> None:
    """With sizes, rights and times."""
    found = parse(header("base/1/2619", size=12345))
    assert (found.path, found.type, found.size, found.mode) == (b"base/1/2619", Type.FILE, 12345, 0o640)
    assert (found.mtime, found.padding) == (1_700_000_000, 455)
    assert parse(header("./global/", kind=tarfile.DIRTYPE)).path == b"global"
    assert parse(header("pg_tblspc/16384", kind=tarfile.SYMTYPE, target="/mnt/fast")).type is Type.LINK


@given(st.integers(0, (1 << 63) - 1))
def test_sizes(size: int) -> None:
    """Of 8 GiB and more, in base 256."""
    try:
        data = header("f", size=size)
    except ValueError:
        return
    assert parse(data).size == size


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd"])
def test_a_path_that_leads_out(name: str) -> None:
    """It is refused, not followed."""
    with pytest.raises(Damaged, match="leads out"):
        parse(header(name))


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_members_that_no_base_has(kind: bytes) -> None:
    """Hard links, devices, pipes."""
    with pytest.raises(Damaged, match="neither"):
        parse(header("x", kind=kind))


@given(st.binary(min_size=BLOCK, max_size=BLOCK))
def test_anything_else_is_refused(block: bytes) -> None:
    """With the one error."""
    with pytest.raises(Damaged):
        parse(block)


@pytest.mark.parametrize("offset", [0, 100, 125, 149, 300])
def test_one_wrong_byte(offset: int) -> None:
    """The checksum tells."""
    block = bytearray(header("base/1/2619", size=12345))
    block[offset] ^= 1
    with pytest.raises(Damaged):
        parse(bytes(block))


def test_archives_of_another_program() -> None:
    """Read from beginning to end, as `tarfile` wrote them."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"f{number}")
            info.size = 700 * number
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    data, at, seen = whole.getvalue(), 0, []
    while data[at : at + BLOCK] != bytes(BLOCK):
        found = parse(data[at : at + BLOCK])
        seen.append((found.path, found.size))
        at += BLOCK + found.size + found.padding
    assert seen == [(b"f0", 0), (b"f1", 700), (b"f2", 1400)]

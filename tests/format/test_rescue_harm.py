"""rescue.py on damaged packs, and on trees that mean harm."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from knowngood.core.progress import Progress
from knowngood.testing.vaults import small_packs
from knowngood.tree.block import Content
from knowngood.vault.pack import walk_pack
from tests.format.reference import input_bytes
from tests.format.rescuing import FILE, FOLDER, Bench
from tests.format.shapes import Shape, write_shapes

# ------------------------------------------------------------------------------------------------------------ damage


def many_files() -> list[Shape]:
    return [Shape(b"f%02d" % n, FILE, input_bytes(40_000)[n * 900 :][:1500], Content.CHUNK) for n in range(20)]


def whole(folder: Path, shapes: list[Shape]) -> set[bytes]:
    """The files that came back as they were."""
    there = {os.fsencode(path.name): path.read_bytes() for path in folder.iterdir()}
    return {each.path for each in shapes if there.get(each.path) == each.content}


def test_a_damaged_chunk_costs_its_file_only(bench: Bench) -> None:
    with small_packs(raw=1 << 20, alone=1000):
        point = bench.shapes(*many_files())
    (pack,) = bench.packs()
    data = bytearray(pack.read_bytes())
    frames = list(walk_pack(lambda offset, length: bytes(data[offset : offset + length]), len(data)))
    assert len(frames) == 20
    data[frames[7].offset + frames[7].header.head_bytes + 5] ^= 1
    pack.write_bytes(data)
    done = bench.restore(point)
    assert done.status == 3
    assert len(done.lost) == 1
    assert len(whole(bench.to / "c", many_files())) == 19
    assert len(list((bench.to / "c").iterdir())) == 20  # what was left of the file is there, with a hole


def test_behind_a_damaged_header_the_next_frames_are_found(bench: Bench) -> None:
    with small_packs(raw=1 << 20, alone=1000):
        point = bench.shapes(*many_files())
    (pack,) = bench.packs()
    data = bytearray(pack.read_bytes())
    frames = list(walk_pack(lambda offset, length: bytes(data[offset : offset + length]), len(data)))
    data[frames[3].offset] ^= 1  # the magic
    data[frames[9].offset + 25] ^= 0xFF  # a length
    data[:32] = bytes(32)  # the pack's own header
    pack.write_bytes(data)
    done = bench.restore(point)
    assert (done.status, len(done.lost)) == (3, 2)
    assert len(whole(bench.to / "c", many_files())) == 18


@pytest.mark.parametrize("size", [0, 10, 40, 2000])
def test_a_pack_that_is_cut_off_gives_what_it_has(bench: Bench, size: int) -> None:
    with small_packs(raw=1 << 20, alone=1000):
        point = bench.shapes(*many_files())
    (pack,) = bench.packs()
    os.truncate(pack, size)
    done = bench.restore(point)
    assert done.status == 3
    assert len(whole(bench.to / "c", many_files())) == 20 - len([each for each in done.lost if "bytes" in each])


def test_a_lost_page_costs_what_it_listed(bench: Bench) -> None:
    shapes = [Shape(b"d%03d/f%02d" % (d, f), FILE, b"%d" % f, Content.INLINE) for d in range(120) for f in range(40)]
    with small_packs(raw=1 << 14):
        point = bench.shapes(*shapes)
    packs = bench.packs("pages")
    assert len(packs) > 3
    packs[1].unlink()
    done = bench.restore(point)
    assert done.status == 3
    assert done.lost
    if (bench.to / "c").exists():
        found = {os.fsencode(path.relative_to(bench.to / "c")) for path in (bench.to / "c").rglob("f*")}
        assert found < {each.path for each in shapes}


def test_a_second_copy_serves_where_the_first_is_damaged(bench: Bench) -> None:
    shape = Shape(b"f", FILE, input_bytes(5000), Content.CHUNK)
    with bench.small.vault.session("a") as one, bench.small.vault.session("b") as other:  # neither sees the other's
        for session in (one, other):
            with bench.small.vault.ingest(session, Progress()) as sink:
                root = write_shapes([shape], sink)
                sink.flush()
        point = bench.small.commit(one, root)
    first, second = bench.packs()
    for pack in (first, second):
        data = pack.read_bytes()
        pack.write_bytes(data[:-20] + bytes(20))
        done = bench.restore(point)
        assert (done.status, (bench.to / "c" / "f").read_bytes()) == (0, shape.content)
        shutil.rmtree(bench.to)
        pack.write_bytes(data)


def test_a_damaged_commit_costs_its_point_only(bench: Bench) -> None:
    first = bench.shapes(Shape(b"f", FILE, b"one", Content.CHUNK))
    second = bench.shapes(Shape(b"f", FILE, b"two", Content.CHUNK))
    commit = bench.vault / bench.small.catalog.commit_of(second.id)
    data = commit.read_bytes()
    commit.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    done = bench.rescue("list")
    assert done.status == 3
    assert [line[:32] for line in done.out.splitlines()] == [first.id.hex()]
    assert bench.restore(first).status == 3  # it says that a commit is lost
    assert (bench.to / "c" / "f").read_bytes() == b"one"


def test_the_descriptor_and_the_key_file_may_be_lost(bench: Bench) -> None:
    point = bench.shapes(Shape(b"f", FILE, b"content", Content.CHUNK))
    (bench.vault / "vault.json").write_bytes(b"{}")
    assert bench.restore(point).status == 0
    shutil.rmtree(bench.to)
    (bench.vault / "vault.copy.json").unlink()
    shutil.rmtree(bench.vault / "keys")
    assert bench.restore(point).status == 1
    words = ("--vault-id", bench.small.vault.id.hex(), "restore", "latest", "--to", bench.to)
    assert bench.rescue(*words).status == 0
    assert (bench.to / "c" / "f").read_bytes() == b"content"


# ------------------------------------------------------------------------------------------------------------- malice


@pytest.mark.parametrize(
    "shapes",
    [
        [Shape(b"..", FILE, b"out", Content.INLINE)],
        [Shape(b"a/../../out", FILE, b"out", Content.INLINE)],
        [
            Shape(b"link", stat.S_IFLNK | 0o777, b"../..", Content.INLINE),
            Shape(b"link/out", FILE, b"x", Content.INLINE),
        ],
        [
            Shape(b"link", stat.S_IFLNK | 0o777, b"../../out", Content.INLINE),
            Shape(b"link", FILE, b"x", Content.INLINE),
        ],
        [Shape(b"link", stat.S_IFLNK | 0o777, b"..", Content.INLINE), Shape(b"link", FOLDER)],
        [Shape(b".", stat.S_IFLNK | 0o777, b"../..", Content.INLINE), Shape(b"out", FILE, b"x", Content.INLINE)],
        [Shape(b".", FILE, b"x", Content.INLINE), Shape(b"out", FILE, b"x", Content.INLINE)],
    ],
    ids=[
        "dots",
        "dots-above",
        "through-a-link",
        "over-a-link",
        "folder-over-a-link",
        "root-is-a-link",
        "root-is-a-file",
    ],
)
def test_no_tree_writes_outside_of_the_target(bench: Bench, shapes: list[Shape]) -> None:
    """Names and links that lead out are listed as lost; all else stays where it was."""
    point = bench.shapes(*shapes)
    bench.to.mkdir()
    before = _outside(bench)
    done = bench.restore(point)
    assert done.status == 3
    assert done.lost
    assert _outside(bench) == before


def _outside(bench: Bench) -> dict[str, tuple[int, int]]:
    """Everything around the target, and when it was changed last."""
    here = [path for path in bench.folder.rglob("*") if not path.is_relative_to(bench.to)]
    return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in [bench.folder, *here]}


@pytest.mark.parametrize("component", ["..", ".", "", "../out", "/out", "a/b"])
def test_no_component_lies_outside_of_the_target(bench: Bench, component: str) -> None:
    point = bench.shapes(Shape(b"f", FILE, b"x", Content.INLINE), component=component)
    before = _outside(bench)
    assert bench.restore(point).status == 1
    assert _outside(bench) == before
    assert not bench.to.exists() or not list(bench.to.iterdir())

"""What has not changed is taken over unseen; what may have changed is read again."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from knowngood.core.ids import Name
from knowngood.core.instants import SECOND
from knowngood.kinds.files.capture.basis import FILE
from knowngood.kinds.files.settled import COARSE, TICK, settled
from knowngood.seal.chunker import ChunkSizes
from knowngood.tree.block import Content
from tests.unit.kinds_files.capturing import Shot, Site, noise


def fill(site: Site, folders: int = 3, files: int = 20) -> None:
    """Some folders of some files."""
    for folder in range(folders):
        for number in range(files):
            site.write(f"d{folder}/f{number:02d}", noise(500, 100 * folder + number))
    os.symlink("d0", site.tree / "link")


def read(shot: Shot) -> int:
    """Bytes read."""
    return shot.captured.totals.read_bytes


def test_nothing_is_read_or_stored_twice(site: Site) -> None:
    """A capture of an unchanged tree costs no chunk and no leaf, and asks the vault for nothing."""
    fill(site)
    first = site.capture()
    again = site.capture()
    assert again.captured.root == first.captured.root
    assert (again.sink.added, again.sink.paged, again.sink.asked) == ([], [], [])
    assert again.captured.totals.files == 60


def change_content(file: Path) -> None:
    """Other bytes, same size, same time of modification."""
    times = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(file: Path) -> None:
    """A new file takes the name."""
    other = file.with_name("other")
    other.write_bytes(file.read_bytes()[::-1])
    os.replace(other, file)


@pytest.mark.parametrize(
    "change",
    [
        change_content,
        replace,
        lambda file: file.chmod(0o600),
        lambda file: os.truncate(file, 10),
        lambda file: os.link(file, file.with_name("second")),
        lambda file: file.rename(file.with_name("f99")),
        lambda file: file.unlink(),
        lambda file: file.with_name("f05x").write_bytes(b"new"),
        lambda file: os.utime(file, ns=(0, 0)),
    ],
)
def test_a_change_is_seen(site: Site, change: Callable[[Path], None]) -> None:
    """And the file that changed is all that is read."""
    fill(site)
    site.capture()
    change(site.tree / "d1/f05")
    shot = site.capture()
    assert read(shot) <= 500
    assert shot.captured.root == site.fresh().captured.root
    for folder in range(3):
        for file in (site.tree / f"d{folder}").iterdir():
            assert shot.content(f"d{folder}/{file.name}".encode()) == file.read_bytes()


def test_changed_attributes_of_a_folder(site: Site) -> None:
    """A folder's row shows that its attributes changed; its files are not read."""
    fill(site)
    site.capture()
    os.chmod(site.tree / "d1", 0o700)
    try:
        os.setxattr(site.tree / "d1", "user.new", b"1")
    except OSError as wrong:
        pytest.skip(f"no user attributes here: {wrong.strerror}")
    shot = site.capture()
    assert shot.entries[b"d1"].extra.xattrs == ((b"user.new", b"1"),)
    assert stat.S_IMODE(shot.entries[b"d1"].mode) == 0o700
    assert read(shot) == 0


def test_another_kind_takes_the_name(site: Site) -> None:
    """A folder becomes a file, a file becomes a folder, and so on."""
    fill(site)
    site.capture()
    for file in (site.tree / "d1").iterdir():
        file.unlink()
    (site.tree / "d1").rmdir()
    site.write("d1", b"now a file")
    (site.tree / "d0/f00").unlink()
    site.write("d0/f00/below", b"now a folder")
    shot = site.capture()
    assert shot.content(b"d1") == b"now a file"
    assert shot.content(b"d0/f00/below") == b"now a folder"
    assert shot.captured.root == site.fresh().captured.root


# ------------------------------------------------------------------------------------------------------ racy files


def test_times_that_prove_nothing() -> None:
    """A tick on an ordinary file system, two seconds where stamps are whole seconds."""
    began = 1_700_000_000 * SECOND + 500_000_000
    assert settled(began - TICK - 1, began)
    assert not settled(began - TICK, began)
    assert not settled(began + 5, began)
    assert not settled((began - COARSE) // SECOND * SECOND + SECOND, began)
    assert settled((began - COARSE) // SECOND * SECOND, began)


@pytest.mark.parametrize(("ahead", "again"), [(TICK - 1, 1), (TICK + 1, 0), (-SECOND, 1)])
def test_file_of_the_last_moment_is_read_again(site: Site, ahead: int, again: int) -> None:
    """A file that changed as the last capture began may have changed once more without a trace."""
    changed = 0
    while not changed % SECOND:  # not a whole second by chance
        changed = site.write("f", noise(500)).stat().st_ctime_ns
    site.clock = lambda: changed + ahead
    site.capture()
    second = site.capture()
    assert len(second.sink.added) == again
    site.clock = lambda: changed + 3 * SECOND
    site.capture()
    last = site.capture()
    assert last.sink.added == []


def test_reading_again_what_did_not_change_keeps_its_pages(site: Site) -> None:
    """A file that proves unchanged after all costs no page."""
    fill(site)
    site.clock = lambda: 0
    first = site.capture()
    second = site.capture()
    assert len(second.sink.added) == 60
    assert (second.captured.root, second.sink.paged) == (first.captured.root, [])


# ------------------------------------------------------------------------------------------------------------ trust


def test_without_trust_everything_is_asked_for(site: Site) -> None:
    """The vault has it all: nothing is read."""
    fill(site)
    first = site.capture()
    again = site.capture(trust=False)
    assert again.captured.root == first.captured.root
    assert (read(again), again.sink.paged) == (0, [])
    used = {Name(name) for entry in first.entries.values() for name in entry.names()}
    assert used <= set(again.sink.asked)


def test_what_the_vault_lost_is_read_again(site: Site) -> None:
    """And only that."""
    fill(site)
    lost = Name(site.capture().entries[b"d1/f05"].refs)
    site.vault.forget(lost)
    again = site.capture(trust=False)
    assert again.sink.added == [lost]
    assert read(again) == 500


def test_page_that_the_vault_lost_is_made_again(site: Site) -> None:
    """From what is remembered, without reading a file."""
    fill(site)
    first = site.capture()
    for name in list(site.vault.pages):
        site.vault.forget(name)
    again = site.capture(trust=False)
    assert (again.captured.root, read(again)) == (first.captured.root, 0)


def huge(site: Site) -> bytes:
    """A file so large that pages list its chunks."""
    site.sizes = ChunkSizes(2048, 2048, 16384)
    data = noise(12 << 20)
    site.write("big", data)
    return data


def test_chunks_of_huge_files_are_asked_for_too(site: Site) -> None:
    """A list page is remembered, so that each chunk behind it can be asked for."""
    data = huge(site)
    first = site.capture()
    entry = first.entries[b"big"]
    assert entry.content == Content.LIST
    assert read(site.capture(trust=False)) == 0
    chunk = next(iter(site.vault.chunks))
    site.vault.forget(chunk)
    again = site.capture(trust=False)
    assert read(again) == len(data)
    site.vault.forget(Name(entry.names()[0]))
    assert read(site.capture(trust=False)) == len(data)


def test_uncommitted_capture_is_of_use(site: Site) -> None:
    """What was captured and not committed is not trusted, but asked for."""
    fill(site)
    site.capture(remember=False)
    again = site.capture()
    assert read(again) == 0
    assert again.sink.asked


def test_committed_capture_is_trusted_even_if_nobody_was_told(site: Site) -> None:
    """The program ended between the commit and `remember`."""
    fill(site)
    first = site.capture(remember=False)
    site.trust(first)
    assert site.capture().sink.asked == []


# --------------------------------------------------------------------------------------------- what is remembered


def damage(file: Path, at: float, size: int = 64) -> None:
    """Overwrite a part of a file."""
    with file.open("r+b") as target:
        target.seek(int(file.stat().st_size * at))
        target.write(bytes(size))


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.write_bytes(b"not a database" * 1000),
        lambda file: os.truncate(file, 20000),
        lambda file: damage(file, 0),
        lambda file: damage(file, 0.5, 40000),
        lambda file: run_sql(file, "UPDATE page SET refs = substr(refs, 33) || substr(refs, 1, 32)"),
        lambda file: run_sql(file, "UPDATE page SET body = x'00'"),
        lambda file: run_sql(file, "DELETE FROM page"),
        lambda file: run_sql(file, "DROP TABLE run"),
        lambda file: run_sql(file, "PRAGMA user_version = 99"),
        lambda file: file.unlink(),
    ],
)
def test_damaged_memory_is_thrown_away(site: Site, harm: Callable[[Path], None]) -> None:
    """Everything is read again then, and remembered anew."""
    fill(site)
    first = site.capture()
    harm(site.state / FILE)
    again = site.capture()
    assert again.captured.root == first.captured.root
    assert read(again) == read(first)
    assert read(site.capture()) == 0


def run_sql(file: Path, statement: str) -> int:
    """Run a statement in a database; returns its first value."""
    db = sqlite3.connect(file, isolation_level=None)
    try:
        row = db.execute(statement).fetchone()
        return row[0] if row else 0
    finally:
        db.close()


def test_memory_is_private(site: Site) -> None:
    """Names of files are nobody else's business."""
    site.capture()
    assert stat.S_IMODE((site.state / FILE).stat().st_mode) == 0o600


def test_pages_no_longer_needed_are_forgotten(site: Site) -> None:
    """List pages of files that are still there stay; the rest goes with the tree that needed it."""
    huge(site)
    for number in range(3000):
        site.write(f"d{number % 100}/{number}", b"x")
    site.capture()
    many = run_sql(site.state / FILE, "SELECT count(*) FROM page")
    for number in range(3000):
        (site.tree / f"d{number % 100}/{number}").unlink()
    site.capture()
    few = run_sql(site.state / FILE, "SELECT count(*) FROM page")
    assert few < many
    again = site.capture(trust=False)
    assert read(again) == 0, "the list pages are still there to be asked for"
    (site.tree / "big").unlink()
    site.capture()
    site.capture()
    assert run_sql(site.state / FILE, "SELECT count(*) FROM page") < few
    assert run_sql(site.state / FILE, "SELECT count(*) FROM run") == 1


def test_memory_of_another_path_is_not_used(site: Site) -> None:
    """A component that points elsewhere now is read."""
    fill(site)
    first = site.capture()
    site.path = site.tree.rename(site.base / "elsewhere")
    again = site.capture()
    assert read(again) == read(first)


def test_exclusions_may_change(site: Site) -> None:
    """What was left out is read, what is left out now goes, the rest is taken over."""
    fill(site)
    site.capture()
    site.exclude = ("f0?",)
    shot = site.capture()
    assert read(shot) == 0
    assert sum(path.startswith(b"d1/") for path in shot.entries) == 10
    site.exclude = ()
    assert read(site.capture()) == 3 * 10 * 500


def test_one_change_in_a_large_directory(site: Site) -> None:
    """Long directories are many blocks: the others are not looked at, and their pages stay."""
    for number in range(6000):
        site.write(f"d/{number:06d}", b"x" * (number % 100))
    first = site.capture()
    pages = len(first.sink.paged)
    assert pages > 5
    site.write("d/003000", noise(300))
    site.write("d/003000x", noise(300))
    shot = site.capture()
    assert read(shot) == 600
    assert len(shot.sink.paged) <= 4
    assert shot.captured.totals.files == 6001
    assert shot.captured.root == site.fresh().captured.root


def test_directory_of_large_files_is_cut_by_their_chunks(site: Site) -> None:
    """A block with very many chunks ends early; the next capture finds it again all the same."""
    site.sizes = ChunkSizes(512, 512, 2048)
    for number in range(40):
        site.write(f"f{number:02d}", noise(530_000, number))
    first = site.capture()
    assert len(list(first.tree.blocks())) > 1
    again = site.capture()
    assert (again.captured.root, again.sink.added) == (first.captured.root, [])
    assert again.sink.paged == [first.captured.root], "no leaf is made again, only the node above them"
    site.write("f15", noise(600_000))
    assert site.capture().captured.root == site.fresh().captured.root

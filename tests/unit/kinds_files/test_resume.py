"""An interrupted capture continues: what has landed is not read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowngood.core.errors import Busy
from knowngood.core.ids import Name
from knowngood.kinds.files.limits import Limits
from knowngood.seal.chunker import ChunkSizes
from knowngood.tree.block import Content
from tests.unit.kinds_files.capturing import Shot, Site, TooLate, noise

FILES, SIZE = 400, 1000
SMALL = ChunkSizes(2048, 2048, 16384)


@pytest.fixture
def often(tmp_path: Path) -> Site:
    """A site whose captures note often how far they came."""
    return Site(tmp_path, limits=Limits(record_bytes=20 * SIZE), sizes=SMALL)


def fill(site: Site) -> None:
    """Many small files: 20 in each folder."""
    for number in range(FILES):
        site.write(f"d{number // 20:02d}/f{number:04d}", noise(SIZE, number))


def read(shot: Shot) -> int:
    """Bytes read."""
    return shot.captured.totals.read_bytes


@pytest.mark.parametrize("after", [1, 50, 200, FILES - 1])
def test_first_capture_continues(often: Site, after: int) -> None:
    """At most what passes between two notes is read again, and the tree is the same."""
    fill(often)
    landed = often.interrupt(after_chunks=after)
    shot = often.capture()
    assert read(shot) <= (FILES - landed + 40) * SIZE
    assert shot.captured.root == often.fresh().captured.root
    assert often.capture().sink.asked == []


def test_later_capture_continues(often: Site) -> None:
    """With the interrupted capture for what it covered, and the last whole one for the rest."""
    fill(often)
    often.capture()
    for number in range(0, FILES, 2):
        often.write(f"d{number // 20:02d}/f{number:04d}", noise(SIZE, 1000 + number))
    often.interrupt(after_chunks=150)
    shot = often.capture()
    assert read(shot) <= (FILES // 2 - 150 + 40) * SIZE
    assert shot.captured.root == often.fresh().captured.root


def test_interrupted_again_and_again(often: Site) -> None:
    """Each time it comes farther; what a longer run had noted is not lost to a shorter one."""
    fill(often)
    often.interrupt(after_chunks=300)
    often.write("d00/f0000", noise(SIZE, 5000))
    often.write("d01/f0020", noise(SIZE, 5001))
    often.limits = Limits(record_bytes=1)  # this run notes that it came to d01, and no farther
    often.interrupt(after_chunks=2)
    often.limits = Limits(record_bytes=20 * SIZE)
    shot = often.capture()
    assert read(shot) <= (FILES - 300 + 40) * SIZE
    assert shot.captured.root == often.fresh().captured.root


def comes_to_its_end(site: Site) -> bool:
    """Whether a capture of at most 60 chunks is whole."""
    try:
        site.interrupt(after_chunks=60)
    except TooLate:
        return True
    return False


def test_many_interruptions(often: Site) -> None:
    """A capture that never gets far comes to its end all the same."""
    fill(often)
    rounds = next(number for number in range(1, 100) if comes_to_its_end(often))
    assert rounds <= FILES // 20
    shot = often.capture()
    assert read(shot) == 0
    assert shot.captured.root == often.fresh().captured.root


def test_what_was_noted_and_lost_is_read_again(often: Site) -> None:
    """A collector may have taken what an interrupted capture left."""
    fill(often)
    often.interrupt(after_chunks=300)
    for name in list(often.vault.chunks)[:50]:
        often.vault.forget(name)
    shot = often.capture()
    assert (FILES - 300 + 50) * SIZE <= read(shot) <= (FILES - 300 + 50 + 40) * SIZE
    assert shot.captured.root == often.fresh().captured.root


def test_note_by_time(often: Site) -> None:
    """Progress is noted after a while, too, but not when there is nothing new."""
    fill(often)
    often.limits = Limits(record_seconds=0)
    assert often.capture().sink.flushes > 10
    assert often.capture().sink.flushes == 1


# ------------------------------------------------------------------------------------------------------- huge files


def huge(site: Site, size: int = 14 << 20) -> Path:
    """A file between others that is more than a note long."""
    site.limits = Limits(record_bytes=1 << 20)
    site.write("a", noise(3000, 2))
    site.write("z", noise(3000, 3))
    return site.write("huge", noise(size))


@pytest.mark.parametrize("after", [100, 900, 1500, 3500])
def test_huge_file_continues_in_the_middle(often: Site, after: int) -> None:
    """Before its chunks fill a page, and after many pages."""
    file = huge(often)
    often.interrupt(after_chunks=after)
    landed = sum(map(len, often.vault.chunks.values()))
    shot = often.capture()
    assert read(shot) <= file.stat().st_size + 6000 - landed + 20_000
    assert shot.captured.root == often.fresh().captured.root
    assert shot.entries[b"huge"].content == Content.LIST
    assert often.capture(trust=False).captured.totals.read_bytes == 0


def test_sparse_huge_file_continues_in_the_middle(often: Site) -> None:
    """Where in the data, not where in the file."""
    file = huge(often, 1)
    with file.open("wb") as target:
        for at in (0, 20 << 20, 50 << 20):
            target.seek(at)
            target.write(noise(5 << 20, at))
    often.interrupt(after_chunks=2500)
    shot = often.capture()
    assert read(shot) <= 8 << 20
    assert shot.content(b"huge") == file.read_bytes()
    assert shot.captured.root == often.fresh().captured.root


def test_huge_file_that_changed_is_read_from_the_start(often: Site) -> None:
    """What was read of it before is of no use."""
    file = huge(often)
    often.interrupt(after_chunks=2000)
    file.write_bytes(noise(14 << 20, 9))
    shot = often.capture()
    assert read(shot) >= 14 << 20
    assert shot.captured.root == often.fresh().captured.root


@pytest.mark.parametrize("number", [10, 1400, 2200])
def test_huge_file_continues_before_a_lost_chunk(often: Site, number: int) -> None:
    """Chunks are taken over up to the first that is not there any more."""
    huge(often)
    often.interrupt(after_chunks=2900)
    name = list(often.vault.chunks)[number]
    often.vault.forget(name)
    shot = often.capture()
    assert name in often.vault.chunks
    assert shot.captured.root == often.fresh().captured.root
    assert (read(shot) > 13 << 20) == (number < 100)


def test_huge_file_of_the_last_moment_is_not_continued(often: Site) -> None:
    """Its times could not prove that the first half and the second belong together."""
    huge(often)
    often.clock = lambda: 0
    often.interrupt(after_chunks=2000)
    assert read(often.capture()) >= 14 << 20


def test_large_files_of_one_folder_are_not_read_again(often: Site) -> None:
    """Whole files count before their page is whole."""
    often.limits = Limits(record_bytes=1 << 20)
    for number in range(10):
        often.write(f"f{number}", noise(2 << 20, number))
    often.interrupt(after_chunks=4000)
    landed = sum(map(len, often.vault.chunks.values()))
    assert landed > 8 << 20
    shot = often.capture()
    assert read(shot) <= (20 << 20) - landed + 20_000
    assert shot.captured.root == often.fresh().captured.root


def test_lost_page_of_chunks_is_made_again(often: Site) -> None:
    """A list page that the collector took is made from the file again."""
    huge(often)
    often.interrupt(after_chunks=3500)
    for name in list(often.vault.pages):
        often.vault.forget(Name(name))
    assert often.capture().captured.root == often.fresh().captured.root


# ----------------------------------------------------------------------------------------------- several at a time


def test_two_captures_at_a_time(site: Site) -> None:
    """The second is refused while the first runs."""
    site.write("f", noise(500))
    refused: list[str] = []

    def another(_: object) -> None:
        with pytest.raises(Busy) as wrong:
            site.capture()
        refused.append(wrong.value.message)

    site.capture(before_add=another)
    assert len(refused) == 1
    site.capture()


def test_failure_of_the_vault_is_passed_on(often: Site) -> None:
    """What the sink raises ends the capture; the next one continues."""
    fill(often)

    def stop(_: object) -> None:
        raise Busy("the vault is being moved")

    with pytest.raises(Busy):
        often.capture(before_add=stop)
    assert often.capture().captured.totals.files == FILES

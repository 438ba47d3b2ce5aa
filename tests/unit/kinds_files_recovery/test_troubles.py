"""What goes wrong with single files is told, and the rest goes on; what ends a run leaves nothing half-made."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.errors import Damaged, KnowngoodError, NoSpace, StoreFailed
from knowngood.core.ids import Name
from knowngood.core.ports import Recovered
from knowngood.kinds.files.recovery import flush
from knowngood.kinds.files.recovery.place import Folder
from knowngood.kinds.files.recovery.shared import MARKER, Notes
from knowngood.kinds.files.recovery.target import check_room
from knowngood.testing.trees import differences, picture
from tests.unit.kinds_files_recovery.conftest import Zoo
from tests.unit.kinds_files_recovery.recovering import Kept, Pages, age, capture, set_flags, text


def _again(kept: Kept) -> Pages:
    """The same content, without the trouble."""
    return Pages(kept.pages.vault)


@pytest.fixture
def site(folder: Path) -> Path:
    """Files small and large, and two that are linked."""
    root = folder / "site"
    (root / "folder").mkdir(parents=True)
    for number, size in enumerate((1000, 2000, 400_000, 6_000_000)):
        (root / f"file-{number}").write_bytes(text(number, size))
        (root / "folder" / f"file-{number}").write_bytes(text(10 + number, size))
    os.link(root / "file-1", root / "folder" / "linked-1")
    os.link(root / "file-3", root / "folder" / "linked-3")
    age(root)
    return root


def _leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".knowngood-*")]


@pytest.mark.parametrize("name", ["file-0", "file-2", "file-3", "file-1"])
@pytest.mark.parametrize("existing", ["none", "good", "other"])
def test_a_damaged_chunk_costs_one_file(site: Path, folder: Path, name: str, existing: str) -> None:
    """The file is named, the others come back, and what was there under its name stays."""
    kept, expected = capture(site), picture(site)
    target = folder / "place"
    if existing != "none":
        kept.recover(target)
    if existing == "other":
        for path in (target / name, target / "folder" / name.replace("file", "linked")):
            if path.exists():
                path.unlink()
                path.write_bytes(b"other")
    before = picture(target) if existing != "none" else {}
    names = {kept.entry(name).names()[-1]}
    kept.pages.damaged |= names
    done = kept.recover(target)
    lost = {os.fsencode(name)}
    if name in ("file-1", "file-3"):
        lost.add(os.fsencode(f"folder/linked-{name[-1]}"))
    assert {problem.path for problem in done.problems} == lost
    assert all("is damaged" in problem.reason for problem in done.problems)
    after = picture(target)
    for path in lost:
        assert after.get(path) == before.get(path)
        expected.pop(path)
        after.pop(path, None)
    assert differences(expected, after) == []
    assert _leftovers(target) == []
    kept.pages = _again(kept)
    assert kept.recover(target).problems == []


def test_a_lost_chunk_is_like_a_damaged_one(site: Path, folder: Path) -> None:
    """The vault does not have it any more."""
    kept = capture(site)
    kept.pages.vault.forget(Name(kept.entry("file-0").names()[0]))
    done = kept.recover(folder / "place")
    assert [problem.path for problem in done.problems] == [b"file-0"]
    assert done.files == 9


def test_a_damaged_page_costs_what_it_lists(folder: Path) -> None:
    """The other pages' files come back, those below folders whose own entries are lost as well."""
    source = folder / "source"
    for number in range(60):
        (source / f"{number:03d}" / "below").mkdir(parents=True)
        for name in range(30):
            (source / f"{number:03d}" / "below" / f"{'n' * 80}{name}").write_bytes(b"content")
    kept = capture(source)
    leaves = list(kept.reader.leaves())
    assert len(leaves) > 2
    kept.pages.damaged.add(leaves[0].page)
    with pytest.raises(Damaged):
        kept.recover(folder / "nothing")  # not even the root's own entry is there
    kept.pages.damaged = {leaves[1].page}
    plan = kept.plan(folder / "place")
    assert [what for what, _ in plan.samples if what == "lost"] == ["lost"]
    done = kept.recover(folder / "place")
    assert done.problem_count == 1
    assert f"{leaves[1].entries} entries from here on are lost" in done.problems[0].reason
    made = [path for path in (folder / "place").rglob("n*") if path.is_file()]
    assert len(made) == done.files >= 60 * 30 - leaves[1].entries


def _failing(real: Callable[..., Any], number: int, name: bytes) -> Callable[..., Any]:
    def failing(*args: Any, **more: Any) -> Any:
        if args[0] == name:
            raise OSError(number, os.strerror(number))
        return real(*args, **more)

    return failing


def test_unwritable_things_are_problems(site: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a folder with all below it."""
    kept = capture(site)
    plan = kept.plan(folder / "place")
    monkeypatch.setattr(os, "open", _failing(os.open, errno.EIO, b"file-0"))
    monkeypatch.setattr(os, "mkdir", _failing(os.mkdir, errno.EROFS, b"folder"))
    done = kept.carry_out(plan)
    reasons = {problem.path: problem.reason for problem in done.problems}
    assert reasons == {
        b"file-0": "input/output error",
        b"folder": "the folder could not be made: read-only file system",
    }
    assert done.files == 3


@pytest.mark.parametrize(
    ("call", "existing"),
    [(call, existing) for existing in (False, True) for call in ("pwrite", "mkdir", "open")] + [("rename", True)],
)
def test_a_full_disk_ends_the_run(
    site: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, existing: bool
) -> None:
    """No temporary files stay; what is done stays; running it again goes on."""
    kept, expected = capture(site), picture(site)
    target = folder / "place"
    if existing:
        (target / "folder").mkdir(parents=True)
        (target / "file-3").write_bytes(b"old")
        if call == "mkdir":
            (target / "folder").rmdir()
    with monkeypatch.context() as patched:
        real, calls = getattr(os, call), []

        def filling(*args: Any, **more: Any) -> Any:
            if call in ("mkdir", "pwrite") or args[0][:5] in (b"file-", b".know"):
                calls.append(1)
                if len(calls) > (0 if call == "mkdir" else 3):
                    raise OSError(errno.ENOSPC, "full")
            return real(*args, **more)

        plan = kept.plan(target)
        patched.setattr(os, call, filling)
        with pytest.raises(NoSpace) as raised:
            kept.carry_out(plan)
    assert "run the same recovery again" in raised.value.hint
    assert _leftovers(target) == ([] if existing or not target.exists() else [MARKER.decode()])
    if existing:
        assert (target / "file-3").read_bytes() in (b"old", (site / "file-3").read_bytes())
    assert kept.recover(target).problems == []
    assert differences(expected, picture(target)) == []


@pytest.mark.root
def test_a_disk_that_is_full(site: Path, mounts: Any) -> None:
    """A real one: told before anything is written, or when it happens; then old files are whole."""
    kept = capture(site)
    small: Path = mounts.make("ext4", 16)
    (small / "other").write_bytes(bytes(3_000_000))
    with pytest.raises(NoSpace, match="do not fit"):
        kept.recover(small / "place")
    target = small / "target"
    (target / "folder").mkdir(parents=True)
    for path in site.rglob("file-*"):
        (target / path.relative_to(site)).write_bytes(b"old")
    with pytest.raises(NoSpace, match="no more room"):
        kept.recover(target)
    assert _leftovers(target) == []
    for path in site.rglob("file-*"):
        assert (target / path.relative_to(site)).read_bytes() in (b"old", path.read_bytes())


def test_a_vault_that_fails_ends_the_run(site: Path, folder: Path) -> None:
    """A store that cannot be read now may be read later: its error is not the file's."""
    kept, expected = capture(site), picture(site)

    def failing(_: Name) -> None:
        if len(kept.pages.chunks) > 3:
            raise StoreFailed("the line is dead")

    kept.pages.before_chunk = failing
    (folder / "place").mkdir()
    (folder / "place" / "other").touch()
    with pytest.raises(StoreFailed):
        kept.recover(folder / "place")
    assert _leftovers(folder / "place") == []
    kept.pages.before_chunk = None
    kept.recover(folder / "place", delete_extra=True)
    assert differences(expected, picture(folder / "place")) == []


# An interrupt may come between making an iterator over a folder and closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("after", [0, 4, 30])
def test_an_interrupt_leaves_nothing_half_made(site: Path, folder: Path, existing: bool, after: int) -> None:
    """Ctrl-C: no temporary files; a new folder stays marked; the next run finishes it."""
    kept, expected = capture(site), picture(site)
    target = folder / "place"
    target.mkdir()
    if existing:
        for name in ("file-0", "file-3"):
            (target / name).write_bytes(b"old")

    def interrupting(_: Name) -> None:
        if len(kept.pages.chunks) == after + 1:
            os.kill(os.getpid(), signal.SIGINT)

    kept.pages.before_chunk = interrupting
    plan = kept.plan(target)
    with pytest.raises(KeyboardInterrupt):
        kept.carry_out(plan)
    assert _leftovers(target) == ([] if existing else [MARKER.decode()])
    for path in target.rglob("*"):
        if path.is_file() and path.name.startswith("file"):
            assert path.read_bytes() in (b"old", (site / path.relative_to(target)).read_bytes())
    kept.pages.before_chunk = None
    kept.recover(target)
    assert differences(expected, picture(target)) == []


def test_a_new_folder_is_marked_until_it_is_whole(site: Path, folder: Path) -> None:
    """An unfinished folder says so; whoever runs it again gets only what is missing."""
    kept, expected = capture(site), picture(site)
    target = folder / "place"
    seen: list[bool] = []
    kept.pages.before_chunk = lambda _: seen.append((target / os.fsdecode(MARKER)).exists())
    kept.recover(target)
    assert all(seen)
    assert seen
    assert not (target / os.fsdecode(MARKER)).exists()
    (target / os.fsdecode(MARKER)).write_bytes(b"as if it had been killed")
    (target / "file-0").unlink()
    (target / "folder" / "file-3").write_bytes(b"half")
    done = kept.recover(target)
    assert done.written_bytes == 1000 + 6_000_000
    assert differences(expected, picture(target)) == []


def test_an_unfinished_folder_can_be_protected_and_recovered(folder: Path) -> None:
    """Its marker is content like everything else."""
    source = folder / "source"
    source.mkdir()
    (source / os.fsdecode(MARKER)).write_bytes(b"of an earlier recovery")
    (source / "file").write_bytes(b"content")
    age(source)
    kept = capture(source)
    for _ in range(2):
        kept.recover(folder / "place")
        assert differences(picture(source), picture(folder / "place")) == []


def test_only_so_many_problems_are_listed() -> None:
    """All are counted; what repeats for every file is one problem."""
    notes, done = Notes(), Recovered()
    for number in range(1500):
        notes.add(b"%d" % number, "reason")
        notes.count("owner could not be set", b"%d" % number)
    notes.report(done)
    assert done.problem_count == 1501
    assert done.problems[0].reason == "owner could not be set, here and 1499 times more"
    assert len(done.problems) == 1001


def test_a_file_system_without_modes_and_links(site: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT refuses both: the content comes back all the same, and each lack is told once."""

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "refused")

    (site / "file-0").chmod(0o4711)
    (site / "file-2").chmod(0o4711)
    kept = capture(site)
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refused)
        patched.setattr(os, "chmod", refused)
        done = kept.recover(folder / "place")
    assert {problem.reason.partition(",")[0] for problem in done.problems} == {
        "hard link could not be made",
        "mode could not be set: operation not permitted",
    }
    assert done.problem_count == 2
    assert done.files == 10
    for path in site.rglob("*"):
        if path.is_file():
            assert (folder / "place" / path.relative_to(site)).read_bytes() == path.read_bytes()


@pytest.mark.root
def test_flags_are_set_again_when_a_run_ends_early(site: Path) -> None:
    """Folders that were immutable stay so, whatever happens."""
    kept = capture(site)
    (site / "folder" / "file-0").write_bytes(b"damaged")
    (site / "file-0").write_bytes(b"damaged")
    for path in (site, site / "folder"):
        set_flags(path, 0x10)

    def failing(_: Name) -> None:
        raise StoreFailed("gone")

    kept.pages.before_chunk = failing
    with pytest.raises(StoreFailed):
        kept.recover(site)
    for path in (site, site / "folder"):
        with pytest.raises(PermissionError):
            (path / "new").touch()


def test_writing_back_goes_along(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a new folder, what was written is synced while more is written; errors are left to the sync at the end."""
    synced, begun = [], threading.Event()

    def sync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        begun.set()
        raise OSError(errno.EIO, "bad")

    monkeypatch.setattr(flush, "sync_file_system", sync)
    fd = os.open(folder, os.O_RDONLY)
    flusher = flush.Flusher(fd)
    os.close(fd)
    flusher.wrote(40 << 20)
    assert not synced
    flusher.wrote(40 << 20)
    assert begun.wait(10)
    flusher.close()
    assert synced == [str(folder)]


def test_room_is_checked_before(site: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What clearly does not fit is not begun; where files are replaced, nobody knows before."""
    kept = capture(site)
    plan = kept.plan(folder / "place")
    plan.write_bytes = 1 << 60
    root = Folder(b"", os.open(folder, os.O_RDONLY))
    try:
        with pytest.raises(NoSpace) as raised:
            check_room(plan, root, "place")
        assert "--to" in raised.value.hint
        plan.rewrite = 1
        check_room(plan, root, "place")
    finally:
        root.close()


def test_too_many_open_files_say_so(zoo: Zoo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the fault of any file."""
    plan = zoo.kept.plan(folder / "place")
    monkeypatch.setattr(os, "mkdir", _failing(os.mkdir, errno.EMFILE, b"folder"))
    with pytest.raises(KnowngoodError, match="too many open files"):
        zoo.kept.carry_out(plan)


def test_no_descriptors_and_threads_are_left(zoo: Zoo, folder: Path) -> None:
    """However a run ends."""
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    zoo.kept.recover(folder / "place")
    zoo.kept.recover(folder / "place", "folder/*")
    kept = Kept(zoo.kept.checkpoint, Pages(zoo.kept.pages.vault))

    def failing(_: Name) -> None:
        raise StoreFailed("gone")

    kept.pages.before_chunk = failing
    with pytest.raises(StoreFailed):
        kept.recover(folder / "other")
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before

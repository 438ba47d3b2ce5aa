"""What happens when files change, vanish or turn into something else while they are captured."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from knowngood.core.buffers import Buffer
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.problems import CHANGED, VANISHED
from tests.unit.kinds_files.capturing import Site, noise, once

# ------------------------------------------------------------------------------------------------- vanished, swapped


def test_vanished_file_and_folder(site: Site) -> None:
    """They are left out, and told of; the rest goes on."""
    site.write("a", noise(500))
    gone = site.write("b", noise(500))
    site.write("c", noise(500))
    folder = site.tree / "d"
    folder.mkdir()

    def vanish() -> None:
        gone.unlink()
        folder.rmdir()

    shot = site.capture(before_add=once(vanish))
    assert shot.reasons == {b"b": VANISHED, b"d": VANISHED}
    assert set(shot.entries) == {b".", b"a", b"c"}
    assert shot.captured.totals.files == 2


def test_folder_that_vanishes_after_it_was_taken(site: Site) -> None:
    """It is an entry by then; what was in it is not."""
    site.write("a/f", noise(500))
    site.write("b/f", noise(500))
    shot = site.capture(before_add=once(lambda: shutil.rmtree(site.tree / "b")))
    assert shot.reasons == {b"b": VANISHED}
    assert set(shot.entries) == {b".", b"a", b"a/f", b"b"}


def swap(path: Path, make: Callable[[Path], object]) -> Callable[[], None]:
    """Something else takes the name of a file."""

    def act() -> None:
        path.unlink()
        make(path)

    return act


def test_pipe_that_takes_the_name_of_a_file(site: Site) -> None:
    """It is captured as the pipe that it is: nobody waits for its other end."""
    site.write("a", noise(500))
    shot = site.capture(before_add=once(swap(site.write("b", noise(500)), os.mkfifo)))
    assert stat.S_ISFIFO(shot.entries[b"b"].mode)
    assert shot.captured.problem_count == 0


def test_symlink_that_takes_the_name_of_a_file(site: Site) -> None:
    """It is not followed."""
    (site.base / "secret").write_bytes(noise(500, 7))
    site.write("a", noise(500))
    shot = site.capture(before_add=once(swap(site.write("b", noise(500)), lambda path: path.symlink_to("../secret"))))
    assert shot.entries[b"b"].inline == b"../secret"
    assert shot.captured.totals.read_bytes == 500


def test_socket_and_folder_that_take_the_names_of_files(site: Site) -> None:
    """Whatever it is now is captured, with what is in it."""
    site.write("a", noise(500))
    first, second = site.write("b", noise(500)), site.write("c", noise(500))

    def act() -> None:
        first.unlink()
        second.unlink()
        server = socket.socket(socket.AF_UNIX)
        server.bind(os.fspath(first))
        server.close()
        site.write("c/inside", b"x")

    shot = site.capture(before_add=once(act))
    assert stat.S_ISSOCK(shot.entries[b"b"].mode)
    assert shot.content(b"c/inside") == b"x"
    assert shot.captured.problem_count == 0


def test_file_that_takes_the_name_of_another_kind(site: Site) -> None:
    """A pipe or a folder that was listed is a file now."""
    site.write("a", noise(500))
    os.mkfifo(site.tree / "p")
    (site.tree / "q").mkdir()

    def act() -> None:
        (site.tree / "p").unlink()
        (site.tree / "q").rmdir()
        site.write("p", noise(600))
        site.write("q", noise(700))

    shot = site.capture(before_add=once(act))
    assert (shot.content(b"p"), shot.content(b"q")) == (noise(600), noise(700))
    assert shot.captured.problem_count == 0


def test_symlink_that_takes_the_name_of_a_folder(site: Site) -> None:
    """The walk does not leave the tree, neither before the folder is taken nor after."""
    outside = site.base / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    site.write("a/f", noise(500))
    site.write("b/f", noise(500))

    def act() -> None:
        shutil.rmtree(site.tree / "b")
        (site.tree / "b").symlink_to(outside)

    shot = site.capture(before_add=once(act))
    assert set(shot.entries) == {b".", b"a", b"a/f", b"b"}
    assert list(shot.reasons) == [b"b"]


def test_entry_that_keeps_changing_its_kind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few tries it is given up."""
    path = site.write("b", noise(500))
    real = os.open

    def swapping(name: str | bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == b"b":
            is_file = stat.S_ISREG(path.lstat().st_mode)
            path.unlink()
            (os.mkfifo if is_file else os.mknod)(path)
        return real(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapping)
    shot = site.capture()
    assert shot.reasons == {b"b": "kept becoming another kind of thing"}
    assert set(shot.entries) == {b"."}


# ---------------------------------------------------------------------------------------------- changed while reading


@pytest.mark.parametrize("size", [1000, 3 << 20])
def test_file_that_grows_while_it_is_read(site: Site, size: int) -> None:
    """It is tried again; then it is kept as it was when opened, and is read again the next time."""
    file = site.write("f", noise(size))

    def grow(_: Buffer) -> None:
        with file.open("ab") as log:
            log.write(b"one more line\n")

    shot = site.capture(before_add=grow)
    entry = shot.entries[b"f"]
    assert shot.reasons == {b"f": CHANGED}
    assert entry.ctime_ns == 0
    assert shot.content(b"f") == file.read_bytes()[: entry.size]
    assert entry.size >= size
    again = site.capture()
    assert again.content(b"f") == file.read_bytes()
    assert again.captured.problem_count == 0


def test_file_that_changes_once(site: Site) -> None:
    """The second try is good: no problem."""
    file = site.write("f", noise(1000))
    shot = site.capture(before_add=once(lambda: file.write_bytes(noise(2000, 2))))
    assert shot.content(b"f") == noise(2000, 2)
    assert shot.captured.problem_count == 0
    assert site.capture().captured.totals.read_bytes == 0


@pytest.mark.parametrize(("size", "left"), [(8 << 20, 1 << 20), (8 << 20, 0)])
def test_file_that_shrinks_while_it_is_read(site: Site, size: int, left: int) -> None:
    """The size is what was really read."""
    file = site.write("f", noise(size))

    def shrink(_: Buffer) -> None:
        os.truncate(file, left)
        os.truncate(file, size)
        os.truncate(file, left)

    site.limits = Limits(retry_bytes=0)
    shot = site.capture(before_add=shrink)
    entry = shot.entries[b"f"]
    assert shot.reasons == {b"f": CHANGED}
    assert left <= entry.size <= size
    assert len(shot.content(b"f")) == entry.size
    assert shot.captured.totals.bytes == entry.size


def test_large_file_is_not_read_again_at_once(site: Site) -> None:
    """A file that is always written would never end."""
    file = site.write("f", noise(1 << 20))
    site.limits = Limits(retry_bytes=1 << 19)
    shot = site.capture(before_add=lambda _: os.utime(file))
    assert shot.captured.totals.read_bytes == 1 << 20
    assert shot.reasons == {b"f": CHANGED}


def test_sparse_file_that_shrinks_while_it_is_read(site: Site) -> None:
    """Its extents end where the reading ended."""
    file = site.tree / "f"
    with file.open("wb") as target:
        target.write(noise(9 << 20))
        target.seek(40 << 20)
        target.write(noise(1 << 20, 2))
    site.limits = Limits(retry_bytes=0)
    shot = site.capture(before_add=lambda _: os.truncate(file, 1 << 20))
    entry = shot.entries[b"f"]
    assert shot.reasons == {b"f": CHANGED}
    assert sum(length for _, length in entry.extents()) == entry.size < 9 << 20
    assert shot.content(b"f")[: 1 << 20] == noise(9 << 20)[: 1 << 20]


def test_file_that_never_has_the_size_it_tells(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in /sys: what was read counts."""
    site.write("f", b"x" * 1000)
    monkeypatch.setattr(os, "pread", lambda fd, size, at: b"only this"[at : at + size])
    shot = site.capture()
    assert (shot.entries[b"f"].size, shot.reasons) == (9, {b"f": CHANGED})

"""What cannot be read is told of; the rest goes on."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.kinds.files.problems import LISTED, Problems, path_of
from tests.unit.kinds_files.capturing import Site, noise


@contextmanager
def nobody() -> Iterator[None]:
    """Run as a user who owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Site]:
    """A site that another user can work in."""
    with tempfile.TemporaryDirectory() as base:
        os.chmod(base, 0o755)
        site = Site(Path(base))
        os.chmod(site.state, 0o777)
        yield site


def test_unreadable_things_are_problems(shared: Site) -> None:
    """A file is left out, even if an older checkpoint has it; a folder keeps its attributes."""
    for name in ("a", "b", "closed/f", "blind/f"):
        shared.write(name, noise(500))
    with nobody():
        before = shared.capture()
    assert before.captured.problem_count == 0, "without O_NOATIME, which only owners may ask for"
    os.chmod(shared.tree / "b", 0)
    os.chmod(shared.tree / "closed", 0)
    os.chmod(shared.tree / "blind", 0o744)
    with nobody():
        after = shared.capture()
    assert set(after.entries) == {b".", b"a", b"closed", b"blind"}
    assert after.reasons == dict.fromkeys([b"b", b"closed", b"blind/f"], "permission denied")
    assert stat.S_IMODE(after.entries[b"closed"].mode) == 0


def test_root_that_cannot_be_read(shared: Site) -> None:
    """Then there is nothing to protect: an error, not a problem."""
    os.chmod(shared.tree, 0)
    with nobody(), pytest.raises(KnowngoodError, match="Permission denied"):
        shared.capture()
    shared.path = shared.base / "f"
    shared.path.write_bytes(b"x")
    os.chmod(shared.path, 0)
    with nobody(), pytest.raises(KnowngoodError, match="permission denied"):
        shared.capture()


def test_attributes_that_cannot_be_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is worth having all the same; the next capture tries again."""
    site.write("f", noise(500))
    os.symlink("x", site.tree / "link")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listxattr", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        shot = site.capture()
    expected = "attributes could not be read: input/output error"
    assert shot.reasons == dict.fromkeys([b".", b"f", b"link"], expected)
    assert shot.content(b"f") == noise(500)
    again = site.capture()
    assert (again.captured.problem_count, again.captured.totals.read_bytes) == (0, 500)


def test_error_of_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that cannot be read does not end a capture, nor does one directory that cannot be listed."""
    site.write("a", noise(500))
    site.write("d/f", noise(500))

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", fail)
        shot = site.capture()
    assert shot.reasons == dict.fromkeys([b"a", b"d/f"], "input/output error")
    assert set(shot.entries) == {b".", b"d"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", fail)
        shot = site.capture()
    assert shot.reasons == {b".": "input/output error"}
    assert set(shot.entries) == {b"."}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
def test_system_that_is_short_of_resources(site: Site, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Then no file could be read: that is not a problem of each of them."""
    site.write("a", noise(500))

    def fail(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(Busy):
        site.capture()


HOLDER = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGIO, lambda *_: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK))
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
while True:
    signal.pause()
"""


def test_leased_file(site: Site) -> None:
    """A file on which somebody holds a lease is waited for, as long as the kernel lets them have it."""
    path = site.write("f", noise(500))
    command = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        try:
            assert holder.stdout
            if holder.stdout.readline() != b"held\n":
                pytest.skip("no leases here")
            shot = site.capture()
        finally:
            holder.kill()
    assert shot.content(b"f") == noise(500)
    assert shot.captured.problem_count == 0


def test_problems_are_counted_and_the_first_are_listed() -> None:
    """A million unreadable files make a short list."""
    problems = Problems()
    for number in range(LISTED + 7):
        problems.add(path_of(b"a\0b", b"%d" % number), "r")
    assert (problems.count, len(problems.listed)) == (LISTED + 7, LISTED)
    assert problems.listed[1].path == b"a/b/1"

"""A server goes on as another program: nobody who uses the mount notices, and the log has no gap."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.log import Operation
from knowngood.kinds.files.journal import line, renewal
from tests.mounted import needs_fuse, until
from tests.unit.kinds_files_journal.journalling import Journalled

pytestmark = [pytest.mark.root, needs_fuse]

_LOAD = """
import os, sys
os.chdir(sys.argv[1])
number = 0
print("ready", flush=True)
while not os.path.exists("stop"):
    number += 1
    fd = os.open(f"file{number % 5}", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"%08d" % number, 0)
    os.rename(f"file{number % 5}", f"name{number % 5}")
    assert os.pread(fd, 8, 0) == b"%08d" % number
    os.close(fd)
    os.unlink(f"name{number % 5}") if number % 3 else None
print(number)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Journalled]:
    """A folder that is journalled."""
    made = Journalled(tmp_path)
    made.settle()
    yield made
    made.end()


def test_what_is_open_goes_on(site: Journalled) -> None:
    """Files, also those without a name, half-read listings, working directories; and no write is missing."""
    tree = site.tree
    (tree / "deep" / "er").mkdir(parents=True)
    for number in range(2000):
        (tree / "deep" / f"{number:04}").touch()
    process = site.server()
    gone = os.open(tree / "gone", os.O_RDWR | os.O_CREAT, 0o644)
    os.unlink(tree / "gone")
    os.chdir(tree / "deep" / "er")
    try:
        with (tree / "kept").open("w+b", buffering=0) as kept, os.scandir(tree / "deep") as listing:
            kept.write(b"before ")
            os.write(gone, b"unnamed ")
            names = [next(listing).name for _ in range(100)]
            assert site.renew()
            assert site.server() == process
            kept.write(b"after")
            os.write(gone, b"still")
            names += [each.name for each in listing]
            assert os.pread(kept.fileno(), 100, 0) == b"before after"
            assert os.pread(gone, 100, 0) == b"unnamed still"
            assert sorted(names) == sorted(os.listdir(tree / "deep"))
            Path("here").write_bytes(b"relative")
            assert (tree / "deep" / "er" / "here").read_bytes() == b"relative"
            assert site.renew()
            kept.write(b", twice")
    finally:
        os.chdir("/")
        os.close(gone)
    records = site.tick()
    assert site.follower.standing.level == "journal"
    assert Operation.GAP not in [each.operation for each in records]
    site.verify(0)
    assert site.at()[b"kept"][-1] == b"before after, twice"


def test_under_load(site: Journalled) -> None:
    """Again and again, while three programs write as fast as they can."""
    folders = [site.tree / str(number) for number in range(3)]
    for each in folders:
        each.mkdir()
    writers = [
        subprocess.Popen([sys.executable, "-c", _LOAD, str(each)], stdout=subprocess.PIPE, text=True)
        for each in folders
    ]
    try:
        assert [each.stdout.readline() for each in writers if each.stdout] == ["ready\n"] * 3
        for _ in range(3):
            before = len(site.log)
            assert site.renew()
            until(lambda: bool(site.tick()) and len(site.log) > before)  # noqa: B023 it is called within the turn
            assert site.follower.standing.level == "journal"
        for each in folders:
            (each / "stop").touch()
        assert all(int(each.communicate()[0]) > 0 for each in writers)
        assert [each.returncode for each in writers] == [0] * 3
    finally:
        for each in writers:
            each.kill()
            each.wait()
            each.stdout.close() if each.stdout else None
    site.tick()
    assert Operation.GAP not in [each.operation for each in site.log[1:]]
    site.verify(0)


def test_an_upgrade(site: Journalled) -> None:
    """The next keeper, of another version, lets it go on as what that one is; and does not ask twice."""
    began = site.renewals()
    site.dies()
    with patch.object(line.knowngood, "__version__", "another", create=True):
        site.follower = site.follow()
    assert site.renewals() != began
    (site.tree / "file").write_bytes(b"x")
    site.tick()
    assert site.follower.standing.level == "journal"
    site.verify()


def test_a_program_that_cannot(site: Journalled, tmp_path: Path) -> None:
    """One that is not there, fails, or understands another form: all stays as it is."""
    began = site.renewals()
    failing = tmp_path / "python"
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o755)
    for program in ("/nowhere/python", str(failing)):
        with patch.object(line.sys, "executable", program):
            assert not site.renew()
    assert not renewal.can(str(failing))
    assert renewal.can(sys.executable)
    holder = site.follower.standing.holder
    assert holder is not None
    holder.hold(30)
    assert not site.renew()  # while all writers are held
    assert holder.release()
    (site.tree / "file").write_bytes(b"x")
    assert site.renewals() == began
    site.tick()
    site.verify()

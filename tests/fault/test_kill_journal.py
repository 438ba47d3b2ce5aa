"""The journal's server is killed at any instant under load: what was synced is recovered, a gap says what is not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.core.log import Operation
from tests.mounted import needs_fuse
from tests.unit.kinds_files_journal.journalling import Journalled

pytestmark = [pytest.mark.root, needs_fuse]

_LOAD = """
import os, sys
tree = sys.argv[1]
number = 0
while True:
    fd = os.open(f"{tree}/file{number % 7}", os.O_WRONLY | os.O_CREAT, 0o644)
    os.pwrite(fd, b"%08d" % number, 0)
    if number % 5 == 0:
        os.pwrite(fd, bytes(5000), 100)
        os.rename(f"{tree}/file{number % 7}", f"{tree}/name{number % 7}")
    os.fsync(fd)
    os.close(fd)
    print(number, flush=True)
    number += 1
"""


def _load_until(site: Journalled, lines: int) -> list[int]:
    """Somebody writes; the server is killed after so many lines; the numbers of what was synced."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _LOAD, str(site.tree)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert writer.stdout
        synced = [int(writer.stdout.readline()) for _ in range(lines)]
        site.kill()
        with writer.stdout:
            return synced + [int(each) for each in writer.stdout.read().split()]
    finally:
        writer.kill()
        writer.wait()


def _newest(site: Journalled) -> int:
    """The greatest number that the log knows of."""
    found = [int(state[-1][:8]) for path, state in site.at().items() if path[:4] in (b"file", b"name") and state[-1]]  # type: ignore[index]
    return max(found, default=-1)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_the_server_is_killed(seed: int, tmp_path: Path) -> None:
    """Again and again: the last synced write is in the log, and then the tree that there is."""
    some = random.Random(seed)
    site = Journalled(tmp_path)
    try:
        for _ in range(3 if seed else 1):
            site.settle()
            synced = _load_until(site, some.randrange(1, 60))
            site.tick()
            assert _newest(site) >= synced[-1]
            assert Operation.GAP in [each.operation for each in site.checkpoint()]
            site.settle()
            site.verify()
            for each in site.tree.iterdir():
                each.unlink()
            site.tick()
    finally:
        site.end()


def test_a_torn_tail(tmp_path: Path) -> None:
    """Half an entry at the end of the journal is none: what came before it is landed."""
    site = Journalled(tmp_path)
    try:
        site.settle()
        (site.tree / "whole").write_bytes(b"whole")
        (site.tree / "torn").write_bytes(b"torn")
        site.kill()
        newest = max((tmp_path / "state" / "journal" / "entries").iterdir())
        os.truncate(newest, newest.stat().st_size - 3)
        site.tick()
        assert site.at()[b"whole"][-1] == b"whole"
        site.settle()
        site.verify()
    finally:
        site.end()

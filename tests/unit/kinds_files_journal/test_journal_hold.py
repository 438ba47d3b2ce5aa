"""Files that are journalled can be held: a checkpoint of one instant while somebody writes as fast as they can."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.core.errors import Busy
from knowngood.core.ports import Followed, Holder
from knowngood.testing.memory import MemoryPages
from tests.mounted import needs_fuse, until
from tests.unit.kinds_files_journal.journalling import Journalled

pytestmark = [pytest.mark.root, needs_fuse]

_LOAD = """
import os, sys
one, other = (os.open(f"{sys.argv[1]}/{name}", os.O_WRONLY | os.O_CREAT, 0o644) for name in ("one", "other"))
number = 0
while True:
    number += 1
    os.pwrite(one, b"%08d" % number, 0)
    os.pwrite(other, b"%08d" % number, 0)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Journalled]:
    """A folder that is journalled, and was for a while."""
    made = Journalled(tmp_path)
    made.settle()
    yield made
    made.end()


@contextmanager
def _load(site: Journalled) -> Iterator[None]:
    writer = subprocess.Popen([sys.executable, "-c", _LOAD, str(site.tree)])
    try:
        until(lambda: (site.tree / "other").exists() and (site.tree / "other").stat().st_size > 0)
        yield
    finally:
        writer.kill()
        writer.wait()


def _below(site: Journalled) -> bytes:
    return (Path(os.fsdecode(site.follower._below.through)) / "one").read_bytes()


def _holder(site: Journalled) -> Holder:
    standing = site.follower.standing
    assert standing.holder is not None
    assert standing.unheld
    return standing.holder


def test_a_checkpoint_while_all_are_held(site: Journalled) -> None:
    """It is of the instant at which they were, and the log goes on from there without a gap."""
    made: list[tuple[Followed, bytes]] = []
    with _load(site):
        for _ in range(3):
            site.tick()
            sink, holder = site.sink(), _holder(site)
            ahead = site.follower.standing.ahead
            assert ahead is not None
            ahead(sink)
            context = site.context(sink, "state")
            holder.hold(30)
            assert holder.mark().startswith("entry ")
            # A page that waits to be written is seen by who reads through the mount: the truth is below it.
            one = _below(site)
            followed = site.follower.checkpoint(context, len(site.log), site.clock())
            assert _below(site) == one
            assert holder.release()
            sink.flush()
            site.log += followed.records
            site.follower.landed()
            site.roots.append((followed.captured.root, len(site.log)))
            site.trusted.add(context.checkpoint_id)
            site.follower.remember(context, followed.captured)
            made.append((followed, one))
    for followed, one in made:
        assert followed.captured.capture == "journal"
        state = site.states(bytes(followed.captured.root), MemoryPages(site.vault))
        assert state[b"one"][-1] == one
        assert int(state[b"other"][-1]) in (int(one), int(one) - 1)  # type: ignore[call-overload]
    site.tick()
    site.verify(0)


def test_a_lease_ends_by_itself(site: Journalled) -> None:
    """Whoever holds and is not heard of any more keeps nobody from writing; and is told afterwards."""
    with _load(site):
        holder = _holder(site)
        holder.hold(0.05)
        before = _below(site)
        until(lambda: _below(site) != before)
        assert not holder.release()
        assert not holder.release()


def test_nobody_holds_what_is_not_journalled(site: Journalled) -> None:
    """While the log does not say exactly what is there, and when the server is gone."""
    holder = _holder(site)
    site.kill()
    with pytest.raises(Busy):
        holder.hold(1)
    site.tick()
    assert site.follower.standing.holder is None

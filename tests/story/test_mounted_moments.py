"""A mounted vault shows any moment that a log covers, under whatever words `--at` takes."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.control.home import Home
from knowngood.control.workshop import Workshop
from knowngood.doors.mount.filesystem import FileSystem
from knowngood.doors.mount.shelf import Shelf
from knowngood.flow import scratch
from knowngood.plugins import PLUGINS
from tests.story.tale import Tale, live
from tests.unit.mount.kernel import Kernel, beside


@pytest.fixture
def shelf(tale: Tale) -> Iterator[Shelf]:
    """After an hour in which much happened."""
    live(tale)
    shop = Workshop(Home.at(str(tale.user.home)), PLUGINS)
    with Shelf(shop.parts()) as shelf:
        yield shelf
    shop.close()


@pytest.fixture
def kernel(shelf: Shelf) -> Kernel:
    """Who asks."""
    return Kernel(FileSystem(shelf, lambda path, reason: pytest.fail(f"{path}: {reason}")))


def content(kernel: Kernel, shelf: Shelf, *names: str) -> bytes:
    """A whole file."""
    found = beside(shelf, lambda: kernel.look(b"shop", b"data", *map(str.encode, names)))
    return b"".join(kernel.read(found.node, at) for at in range(0, found.stat.size, 1 << 20))


def scratches(tale: Tale) -> int:
    """How many files without a name this process has open in the home."""
    links = [Path("/proc/self/fd") / each for each in os.listdir("/proc/self/fd")]
    targets = [os.readlink(each) for each in links if each.is_symlink()]
    return sum(each.startswith(str(tale.user.home / "state")) and each.endswith("(deleted)") for each in targets)


def test_any_moment(kernel: Kernel, shelf: Shelf, tale: Tale) -> None:
    """Beside each other, each with its own contents; `now` is the end of the log."""
    first, second, third, last = (at for at, _ in tale.seen)
    assert content(kernel, shelf, first, "note") == b"the first words"
    assert content(kernel, shelf, second, "note") == b"and otherswords"
    ledger = content(kernel, shelf, second, "ledger")
    assert len(ledger) == 3 << 20
    assert ledger[1 << 20 :].startswith(b"altered in the middle")
    assert content(kernel, shelf, third, "sub", "deep", "older") == b"old" * 100
    assert content(kernel, shelf, last, "ledger") == ledger[:1000]
    assert content(kernel, shelf, "now", "moved", "older") == b"old" * 100
    assert content(kernel, shelf, first, "ledger") != ledger


def test_what_nobody_knows_any_more_is_let_go(
    kernel: Kernel, shelf: Shelf, tale: Tale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file that holds what the log brought."""
    monkeypatch.setattr(scratch, "WAITING", 1)  # there is little, which would wait in memory
    for at, _ in tale.seen[1:]:
        content(kernel, shelf, at, "ledger")
        content(kernel, shelf, at, "ledger")
    assert scratches(tale) > 0
    kernel.forget_all()
    gc.collect()
    assert scratches(tale) == 0


def test_the_same_state_is_one_tree(kernel: Kernel, shelf: Shelf, tale: Tale) -> None:
    """Whatever was typed, the same name at the same state is the same to the kernel."""
    at = tale.seen[2][0].encode()
    nodes = {beside(shelf, lambda: kernel.look(b"shop", b"data", at)).node for _ in range(3)}
    assert len(nodes) == 1

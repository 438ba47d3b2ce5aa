"""Whatever is done to a tree: an answer of its watcher covers every entry that has changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.kinds.files.watch import FANOTIFY, INOTIFY, Dirty
from tests.unit.kinds_files_watch import chaos
from tests.unit.kinds_files_watch.chaos import Chaos
from tests.unit.kinds_files_watch.watching import Site, missed

ROUNDS = 60
ACTS = 25


def _folder(kind: str, request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue("tmp_path" if kind == "tmp" else f"{kind}_dir")


@pytest.mark.root
@pytest.mark.parametrize("kind", ["tmp", "ext4", "xfs", "btrfs"])
@pytest.mark.parametrize("feed", [FANOTIFY, INOTIFY])
@pytest.mark.parametrize("seed", [1, 2])
def test_answers_cover_all_changes(kind: str, feed: str, seed: int, request: pytest.FixtureRequest) -> None:
    """After every few changes, in a tree that grows and shrinks.

    inotify does not see what happens to a file by a name outside, or one that is gone when it is looked at. So it
    is shown an outside without links, or links one change at a time.
    """
    site = Site(_folder(kind, request))
    everything = feed == FANOTIFY
    links, moves = everything or seed % 2 == 0, everything or seed % 2 == 1
    somebody = Chaos(os.fsencode(site.root), os.fsencode(site.outside), seed, links=links, moves=moves)
    somebody.act(ACTS)
    watcher = site.watch(feeds=(feed,))
    try:
        assert watcher.traits.feed == feed, watcher.traits
        before = site.rows()
        for number in range(ROUNDS if moves else ROUNDS * 4):
            somebody.act(ACTS if moves else 1)
            dirty = watcher.drain()
            assert not dirty.lost, dirty.reason
            after = site.rows()
            assert missed(before, after, dirty, by_links=feed == INOTIFY) == [], f"round {number}: {dirty}"
            before = after
    finally:
        watcher.close()
        somebody.close()


@pytest.mark.root
@pytest.mark.parametrize("feed", [FANOTIFY, INOTIFY])
def test_answers_cover_what_happens_meanwhile(feed: str, tmp_path: Path) -> None:
    """Another process goes on while answers are taken: together they cover all it has done."""
    site = Site(tmp_path)
    Chaos(os.fsencode(site.root), os.fsencode(site.outside), 0, links=False).act(200)
    watcher = site.watch(feeds=(feed,))
    try:
        before = site.rows()
        kinds = "all" if feed == FANOTIFY else "moves"
        words = [sys.executable, chaos.__file__, str(site.root), str(site.outside), "7", "4000", kinds]
        dirty, answers = Dirty(), 0
        with subprocess.Popen(words) as other:
            while other.poll() is None:
                dirty.merge(watcher.drain())
                answers += 1
        assert other.returncode == 0
        dirty.merge(watcher.drain())
        assert not dirty.lost, dirty.reason
        assert answers > 10
        assert missed(before, site.rows(), dirty, by_links=feed == INOTIFY) == []
    finally:
        watcher.close()

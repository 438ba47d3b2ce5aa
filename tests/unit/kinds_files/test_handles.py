"""The walk keeps its place in the tree, with few directories open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from knowngood.kinds.files.handles import DIRECTORY_FLAGS, Handles, Moved
from knowngood.kinds.files.limits import Limits
from tests.unit.kinds_files.capturing import Site, noise, once


def deep(site: Site, depth: int) -> list[Path]:
    """A chain of folders, each with a folder `z` beside the way down."""
    chain = [site.tree]
    for _ in range(depth):
        chain.append(chain[-1] / "d")
        (chain[-1] / "z").mkdir(parents=True)
        (chain[-1] / "z/f").write_bytes(noise(200))
    return chain


def test_folder_that_is_moved_while_the_walk_is_below_it(site: Site) -> None:
    """What is left to walk in it is given up: the walk goes on above."""
    chain = deep(site, 12)
    site.limits = Limits(open_directories=3)
    shot = site.capture(before_add=once(lambda: chain[4].rename(site.base / "away")))
    assert set(shot.reasons.values()) <= {"was moved while being read"}
    assert shot.captured.problem_count >= 1
    assert b"d/z/f" in shot.entries
    assert b"d/d/d/z/f" in shot.entries


def test_another_folder_in_the_place_of_the_one_that_was_entered(site: Site) -> None:
    """A level that is opened again must be the same directory."""
    chain = deep(site, 6)
    handles = Handles(os.open(site.tree, DIRECTORY_FLAGS), 2)
    try:
        for _ in range(6):
            handles.enter(b"d")
        chain[2].rename(site.base / "away")
        shutil.copytree(site.base / "away", chain[2])
        for _ in range(4):
            handles.leave()
        with pytest.raises(Moved):
            handles.enter(b"z")
        handles.leave()
        handles.enter(b"z")
        handles.leave()
    finally:
        handles.close()


def test_few_directories_are_open(site: Site) -> None:
    """However deep the walk is, and on its way up as well."""
    deep(site, 40)
    handles = Handles(os.open(site.tree, DIRECTORY_FLAGS), 5)

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    try:
        for _ in range(40):
            handles.enter(b"d")
            assert count() <= before + 5
        for _ in range(40):
            handles.enter(b"z")
            handles.leave()
            handles.leave()
            assert count() <= before + 5
    finally:
        handles.close()
    assert count() == before - 1

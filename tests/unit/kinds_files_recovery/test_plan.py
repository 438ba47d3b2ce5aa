"""A plan says what a recovery would do, and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knowngood.testing.trees import picture
from tests.unit.kinds_files_recovery.conftest import Zoo
from tests.unit.kinds_files_recovery.recovering import capture, text


def test_a_new_target(zoo: Zoo, folder: Path) -> None:
    """Everything is made; holes and second names need no room; nothing is there afterwards."""
    plan = zoo.kept.plan(folder / "place")
    assert plan.create == len(zoo.picture)
    assert (plan.rewrite, plan.attributes, plan.same, plan.delete) == (0, 0, 0, 0)
    assert plan.samples[0] == ("create", b".")
    assert len(plan.samples) == 20
    assert zoo.kept.pages.chunks == [] or not (folder / "place").exists()
    done = zoo.kept.carry_out(plan)
    assert plan.write_bytes == done.written_bytes


def test_an_empty_target_is_planned_alike(zoo: Zoo, folder: Path) -> None:
    """And one with something else in it differs only by the root, which is there."""
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "thing").touch()
    new, empty, other = (zoo.kept.plan(folder / name) for name in ("new", "empty", "other"))
    assert (empty.create, empty.write_bytes) == (new.create, new.write_bytes)
    assert (other.create, other.attributes, other.write_bytes) == (new.create - 1, 1, new.write_bytes)


def test_what_differs(folder: Path) -> None:
    """Each difference under its word, up to twenty samples of each."""
    site = folder / "site"
    site.mkdir()
    for number in range(30):
        for what in ("same", "gone", "touched", "mode", "size", "copied"):
            (site / f"{what}-{number:02d}").write_bytes(text(number, 1000))
    kept = capture(site)
    for number in range(30):
        (site / f"gone-{number:02d}").unlink()
        os.utime(site / f"touched-{number:02d}")
        (site / f"mode-{number:02d}").chmod(0o600)
        os.truncate(site / f"size-{number:02d}", 10)
        copied = site / f"copied-{number:02d}"
        times = copied.stat()
        (site / "new").write_bytes(copied.read_bytes())
        os.utime(site / "new", ns=(times.st_mtime_ns, times.st_mtime_ns))
        os.rename(site / "new", copied)
    for number in range(30):
        (site / f"zzz-{number:02d}").touch()
    before = picture(site)
    plan = kept.plan(site, delete_extra=True)
    assert (plan.create, plan.rewrite, plan.attributes, plan.same, plan.delete) == (30, 60, 31, 60, 30)
    assert plan.write_bytes == 90 * 1000
    counts = {what: sum(each == what for each, _ in plan.samples) for what, _ in plan.samples}
    assert counts == {"create": 20, "rewrite": 20, "attributes": 20, "check": 20, "delete": 20}
    assert picture(site) == before
    assert kept.pages.chunks == []


def test_a_plan_may_be_old(folder: Path) -> None:
    """What changed since is seen: each file is judged anew."""
    site = folder / "site"
    site.mkdir()
    (site / "a").write_bytes(b"1")
    (site / "b").write_bytes(b"2")
    kept = capture(site)
    plan = kept.plan(site)
    (site / "a").write_bytes(b"3")
    (site / "b").unlink()
    kept.carry_out(plan)
    assert ((site / "a").read_bytes(), (site / "b").read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize("paths", [(), ("*",), ("folder",)])
def test_plans_and_recoveries_agree(zoo: Zoo, folder: Path, paths: tuple[str, ...]) -> None:
    """A second plan after the recovery has nothing to do."""
    zoo.kept.recover(folder / "place", *paths)
    plan = zoo.kept.plan(folder / "place", *paths)
    assert (plan.create, plan.rewrite, plan.attributes, plan.delete) == (0, 0, 0, 0)
    assert plan.same > 0

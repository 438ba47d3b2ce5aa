"""Paths and patterns choose what comes back; what is above it comes along, nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from knowngood.core.errors import NotFound, UsageError
from knowngood.testing.trees import picture
from tests.unit.kinds_files_recovery.recovering import Kept, capture, text


@pytest.fixture
def kept(folder: Path) -> Kept:
    """A checkpoint of some folders with mail and other things."""
    source = folder / "source"
    for name in (
        "mail/anna/1.eml",
        "mail/anna/2.eml",
        "mail/anna/notes.txt",
        "mail/bert/1.eml",
        "mail/bert/old/3.eml",
        "mail.txt",
        "report[1].pdf",
        "top.eml",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(os.fsencode(name) * 40)
    (source / os.fsdecode(b"caf\xe9")).mkdir()
    (source / os.fsdecode(b"caf\xe9") / "menu").write_bytes(b"content")
    (source / "empty").mkdir()
    (source / "mail").chmod(0o711)
    os.utime(source / "mail", ns=(5, 7_000_000_001))
    return capture(source)


def _files(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}


def _folders(target: Path) -> set[str]:
    return {str(path.relative_to(target)) for path in target.rglob("*") if path.is_dir()}


ANNA = {"mail/anna/1.eml", "mail/anna/2.eml", "mail/anna/notes.txt"}


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["mail/anna"], ANNA),
        (["mail/anna/"], ANNA),
        (["/mail/anna/1.eml"[1:], "mail/anna"], ANNA),
        (["mail/bert/old/3.eml", "mail/anna/1.eml"], {"mail/bert/old/3.eml", "mail/anna/1.eml"}),
        (["./mail//bert/1.eml"], {"mail/bert/1.eml"}),
        (["report[1].pdf"], {"report[1].pdf"}),
        (["mail*.txt"], {"mail.txt"}),
        (["*.txt"], {"mail.txt", "mail/anna/notes.txt"}),
        (["/*.txt"], {"mail.txt"}),
        (["mail/*/1.eml"], {"mail/anna/1.eml", "mail/bert/1.eml"}),
        (["mail/**/3.eml"], {"mail/bert/old/3.eml"}),
        (["mail/b*", "top.eml"], {"mail/bert/1.eml", "mail/bert/old/3.eml", "top.eml"}),
        (["ann?/"], ANNA),
        ([os.fsdecode(b"caf\xe9")], {os.fsdecode(b"caf\xe9/menu")}),
        ([os.fsdecode(b"caf\xe9*")], {os.fsdecode(b"caf\xe9/menu")}),
    ],
)
def test_what_is_chosen(kept: Kept, folder: Path, paths: list[str], files: set[str]) -> None:
    """Exact paths, folders with all that is in them, and patterns; absolute paths below the source too."""
    source = kept.checkpoint.source
    paths = [source + path if path.startswith("/") else path for path in paths]
    plan = kept.plan(folder / "place", *paths)
    done = kept.recover(folder / "place", *paths)
    assert _files(folder / "place") == files
    assert done.files == len(files)
    assert plan.create >= len(files)
    above = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    assert _folders(folder / "place") == above


def test_an_absolute_path_below_the_source(kept: Kept, folder: Path) -> None:
    """The path by which people know a file."""
    kept.recover(folder / "place", f"{kept.checkpoint.source}/mail/anna/1.eml")
    assert _files(folder / "place") == {"mail/anna/1.eml"}


@pytest.mark.parametrize("path", [".", "", "{source}", "{source}/"])
def test_the_root_means_everything(kept: Kept, folder: Path, path: str) -> None:
    """Spelled in any way."""
    kept.recover(folder / "place", path.format(source=kept.checkpoint.source))
    assert len(_files(folder / "place")) == 9
    assert (folder / "place" / "empty").is_dir()


@pytest.mark.parametrize("path", ["mail/carl", "mail/*.doc", "/elsewhere/file", "mail/anna/1.eml/below"])
def test_what_is_not_there(kept: Kept, folder: Path, path: str) -> None:
    """A path or pattern that meets nothing is an error with a hint, and nothing is made."""
    with pytest.raises(NotFound) as raised:
        kept.plan(folder / "place", "mail/anna", path)
    assert raised.value.hint
    assert not (folder / "place").exists()


@pytest.mark.parametrize("path", ["../secret", "mail/../../secret"])
def test_no_way_up(kept: Kept, folder: Path, path: str) -> None:
    """`..` is no path in a checkpoint."""
    with pytest.raises(UsageError):
        kept.plan(folder / "place", path)


def test_folders_above_get_their_attributes_when_new(kept: Kept, folder: Path) -> None:
    """The target too, if it is new."""
    kept.recover(folder / "place", "mail/anna/1.eml")
    made, source = picture(folder / "place"), picture(kept.checkpoint.source)
    for path in (b".", b"mail", b"mail/anna", b"mail/anna/1.eml"):
        assert made[path] == source[path]


def test_folders_above_are_left_alone_when_there(kept: Kept, folder: Path) -> None:
    """Neither their attributes nor what is in them."""
    place = folder / "place"
    (place / "mail").mkdir(parents=True)
    (place / "mail").chmod(0o750)
    (place / "mail" / "other").touch()
    (place / "mail" / "anna").mkdir()
    (place / "mail" / "anna" / "other").touch()
    kept.recover(place, "mail/anna", delete_extra=True)
    assert stat.S_IMODE((place / "mail").stat().st_mode) == 0o750
    assert (place / "mail" / "other").exists()
    assert not (place / "mail" / "anna" / "other").exists()


def test_only_the_pages_that_matter_are_read(folder: Path) -> None:
    """Exact paths do not walk the whole tree."""
    source = folder / "source"
    for number in range(120):
        (source / f"{number:03d}").mkdir(parents=True)
        for name in range(30):
            (source / f"{number:03d}" / f"{'n' * 80}{name}").touch()
    (source / "050" / "wanted").write_bytes(text(1, 200))
    kept = capture(source)
    asked: list[bytes] = []
    page = kept.pages.page
    kept.pages.page = lambda name: (asked.append(name), page(name))[1]
    kept.recover(folder / "place", "050/wanted")
    assert (folder / "place" / "050" / "wanted").read_bytes() == text(1, 200)
    assert len(set(asked)) < len(kept.pages.vault.pages) / 2

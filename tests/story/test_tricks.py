"""Somebody lays snares in the tree before it is recovered: nothing outside of it is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from knowngood.testing.trees import Picture, picture
from tests.story.shop import assert_same
from tests.user import User


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must stay as it is."""
    folder = tmp_path / "outside"
    (folder / "below").mkdir(parents=True)
    for name in ("passwd", "file", "below/file", "below/other"):
        (folder / name).write_text(f"precious {name}")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    (folder / "below" / "deeper").mkdir(parents=True)
    for name in ("file", "below/file", "below/deeper/file"):
        (folder / name).write_text(f"content of {name}")
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With one point."""
    user = User(tmp_path)
    user.begins("shop", data)
    user.protects()
    return user


@pytest.fixture
def good(user: User, data: Path) -> Picture:
    """The folder as it was protected."""
    return picture(data)


def test_a_folder_became_a_link(user: User, data: Path, outside: Path, good: Picture) -> None:
    """The link goes, the folder returns, what the link led to is left alone, also with --delete."""
    precious = picture(outside)
    for folder in ("below", "below/deeper"):
        shutil.rmtree(data / folder)
        (data / folder).symlink_to(outside)
        user.does("recover", "shop", "--delete")
        assert_same(data, good)
        assert_same(outside, precious)


def test_a_file_became_a_link(user: User, data: Path, outside: Path, good: Picture) -> None:
    """It is replaced, and not written through."""
    precious = picture(outside)
    for name, target in (("file", outside / "passwd"), ("below/file", outside), ("below/deeper/file", Path("nowhere"))):
        (data / name).unlink()
        (data / name).symlink_to(target)
    user.does("recover", "shop")
    assert_same(data, good)
    assert_same(outside, precious)


def test_a_file_shares_its_inode_with_one_outside(user: User, data: Path, outside: Path, good: Picture) -> None:
    """The bytes of the other name stay."""
    for name in ("file", "below/file"):
        (data / name).unlink()
        os.link(outside / name, data / name)
    user.does("recover", "shop")
    assert (outside / "file").read_text() == "precious file"
    assert (outside / "below" / "file").read_text() == "precious below/file"
    assert_same(data, good)


def test_single_paths_through_a_link(user: User, data: Path, outside: Path) -> None:
    """The folders above a path are not followed either."""
    precious = picture(outside)
    shutil.rmtree(data / "below")
    (data / "below").symlink_to(outside / "below")
    user.does("recover", "shop", "--path", "below/file")
    assert_same(outside, precious)
    assert (data / "below" / "file").read_text() == "content of below/file"
    assert not (data / "below").is_symlink()


def test_extra_links_are_deleted_and_not_followed(user: User, data: Path, outside: Path, good: Picture) -> None:
    """--delete takes the link, not what it leads to."""
    precious = picture(outside)
    (data / "extra").symlink_to(outside)
    (data / "below" / "extra").symlink_to(outside / "passwd")
    (data / "extra folder").mkdir()
    (data / "extra folder" / "link").symlink_to(outside)
    user.does("recover", "shop", "--delete")
    assert_same(data, good)
    assert_same(outside, precious)


def test_links_of_a_point_are_only_links(user: User, data: Path, outside: Path, tmp_path: Path) -> None:
    """A point in which a link leads outside, recovered over a real folder of that name, writes nothing outside."""
    shutil.rmtree(data / "below")
    (data / "below").symlink_to(outside)
    linked = user.protects()["id"]
    (data / "below").unlink()
    (data / "below").mkdir()
    (data / "below" / "file").write_text("now a real one")
    precious = picture(outside)
    user.does("recover", "shop", "--at", linked, "--delete")
    assert os.readlink(data / "below") == str(outside)
    user.does("recover", "shop", "--at", linked, "--to", tmp_path / "out")
    assert (tmp_path / "out" / "data" / "below").is_symlink()
    assert_same(outside, precious)


def test_the_target_itself_is_a_link(user: User, data: Path, tmp_path: Path, good: Picture) -> None:
    """What the user names is followed: homes are often reached through links."""
    (tmp_path / "real").mkdir()
    (tmp_path / "way").symlink_to("real")
    user.does("recover", "shop", "-c", "data", "--to", tmp_path / "way")
    assert_same(tmp_path / "real", good)


def test_a_name_that_steers_a_terminal(user: User, data: Path) -> None:
    """Names are shown with their controls as escapes."""
    (data / "\x1b]0;title\x07\x1b[2J").write_text("x")
    user.protects()
    for words in (("ls", "shop"), ("find", "shop", "*title*"), ("diff", "shop")):
        answer = user.does(*words)
        assert "\x1b" not in answer.out
        assert "\\x1b]0;title\\x07" in answer.out

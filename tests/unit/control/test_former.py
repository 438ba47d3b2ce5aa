"""What recoveries have kept: only what is still that very thing is listed, and removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knowngood.control.former import bytes_of, drop_former, list_former, note_former
from knowngood.control.home import Home
from knowngood.core.errors import KnowngoodError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """It is set up."""
    found = Home.at(str(tmp_path / "home"))
    found.create()
    return found


def kept(home: Home, path: Path) -> Path:
    """A folder that a recovery has kept."""
    (path / "base").mkdir(parents=True)
    (path / "base" / "1").write_bytes(bytes(100_000))
    note_former(home, "shop", "db", str(path))
    return path


def test_it_is_listed_and_let_go(home: Home, tmp_path: Path) -> None:
    first, second = kept(home, tmp_path / "a.former"), kept(home, tmp_path / "b.former")
    assert [each.path for each in list_former(home)] == [str(first), str(second)]
    one, other = list_former(home)
    assert bytes_of(one) >= 100_000
    drop_former(home, one)
    assert not first.exists()
    assert list_former(home) == (other,)
    assert second.exists()


def test_what_took_its_name_is_not_touched(home: Home, tmp_path: Path) -> None:
    path = kept(home, tmp_path / "a.former")
    (one,) = list_former(home)
    path.rename(tmp_path / "moved")
    path.mkdir()
    (path / "mine").write_text("")
    assert list_former(home) == ()
    drop_former(home, one)
    assert (path / "mine").exists()
    assert (tmp_path / "moved").exists()


def test_what_it_links_to_stays(home: Home, tmp_path: Path) -> None:
    path = kept(home, tmp_path / "a.former")
    (tmp_path / "tablespace").mkdir()
    (tmp_path / "tablespace" / "data").write_text("")
    (path / "pg_tblspc").symlink_to(tmp_path / "tablespace")
    (one,) = list_former(home)
    drop_former(home, one)
    assert not path.exists()
    assert (tmp_path / "tablespace" / "data").exists()


def test_a_file_goes_with_what_belongs_to_it(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "stats.db.former"
    for end in ("", "-wal", "-shm", ".mine"):
        Path(f"{path}{end}").write_text("x")
    note_former(home, "shop", "stats", str(path))
    (one,) = list_former(home)
    drop_former(home, one)
    assert sorted(os.listdir(tmp_path)) == ["home", "stats.db.former.mine"]


@pytest.mark.parametrize("content", ["", "{", "[]", '[{"path": 1}]'])
def test_a_list_that_is_damaged_is_begun_anew(home: Home, tmp_path: Path, content: str) -> None:
    Path(home.replaced).write_text(content)
    assert list_former(home) == ()
    assert kept(home, tmp_path / "a.former").exists()
    assert len(list_former(home)) == 1


def test_a_list_that_cannot_be_read_is_not_begun_anew(home: Home, tmp_path: Path) -> None:
    """What it knows would be forgotten."""
    Path(home.replaced).mkdir()
    with pytest.raises(KnowngoodError):
        kept(home, tmp_path / "a.former")
    with pytest.raises(KnowngoodError):
        list_former(home)

"""`knowngood mount` where it cannot be: one line, and the next thing to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowngood.linux.fuse import mount as mount_module
from tests.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With one point."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    (tmp_path / "empty").mkdir()
    user = User(tmp_path)
    user.begins("shop", tmp_path / "data")
    user.protects()
    return user


def test_folders(user: User, tmp_path: Path) -> None:
    """Missing, not empty, not a folder."""
    assert user.does("mount", tmp_path / "none", status=4).next == f"make it with: mkdir -p {tmp_path}/none"
    assert user.does("mount", tmp_path / "data", status=2).next == "name an empty folder"
    assert user.does("mount", tmp_path / "data" / "file", status=2).next == "name an empty folder"


def test_nothing_to_show(user: User, tmp_path: Path) -> None:
    """A service without a point, and a vault without any."""
    missing = user.does("mount", tmp_path / "empty", "--service", "mail", "--json", status=4)
    assert missing.error["hint"] == "make one with: knowngood protect mail"
    other = User(tmp_path / "other")
    other.folder.mkdir()
    other.begins()
    other.does("mount", tmp_path / "empty", status=4)
    assert user.asks("vault", "status")["sessions"] == []


def test_a_machine_without_fuse(user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left behind."""
    monkeypatch.setattr(mount_module, "DEVICE", str(tmp_path / "no device"))
    assert user.does("mount", tmp_path / "empty", status=1).next == "as root: modprobe fuse"
    assert user.asks("vault", "status")["sessions"] == []


def test_a_locked_vault(tmp_path: Path) -> None:
    """The key is asked for at the beginning, not when somebody looks."""
    user = User(tmp_path)
    for name in ("data", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "passphrase").write_text("correct horse")
    user.does("init", "--vault", user.vault, "--passphrase-file", tmp_path / "passphrase")
    user.does("service", "add", "shop", "--files", tmp_path / "data")
    user.does("protect", "shop")
    assert user.does("mount", tmp_path / "empty", "--json", status=5).error["code"] == "locked"

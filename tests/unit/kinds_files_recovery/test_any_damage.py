"""Random trees, damaged at random, come back exactly: what nobody thought of when writing the other tests."""

from __future__ import annotations

import os
import random
import shutil
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from knowngood.kinds.files.recovery import big, rounds, stage
from knowngood.testing.trees import differences, picture
from tests.unit.kinds_files_recovery.recovering import ACL, age, capture, set_flags, text, unlock

_SIZES = (0, 1, 100, 129, 5000, 70_000, 150_000)


class Gardener:
    """Grows trees and spoils them."""

    def __init__(self, seed: int, root: Path, *, is_root: bool) -> None:
        self._random = random.Random(seed)
        self._root = root
        self._is_root = is_root

    def _places(self) -> list[Path]:
        return [self._root, *(path for path in self._root.rglob("*") if path.is_dir() and not path.is_symlink())]

    def _things(self) -> list[Path]:
        return sorted(self._root.rglob("*"))

    def grow(self, count: int) -> None:
        """Add things of any kind."""
        for _ in range(count):
            above = self._random.choice(self._places())
            path = above / self._random.choice("abcdefghij")
            with suppress(FileExistsError):
                self._make(path)

    def _make(self, path: Path) -> None:
        what = self._random.randrange(12)
        files = [each for each in self._things() if not each.is_dir() or each.is_symlink()]
        if what < 4:
            path.mkdir()
        elif what < 8:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._random.choice((0o644, 0o600, 0o4755)))
            os.write(fd, text(self._random.randrange(5), self._random.choice(_SIZES)))
            if self._random.random() < 0.3:
                os.truncate(fd, self._random.choice((200_000, 1_000_000)))
            os.close(fd)
        elif what < 9:
            path.symlink_to(self._random.choice(("a", "../b", "/etc/passwd", ".")))
        elif what < 10:
            os.mkfifo(path)
        elif files:
            os.link(self._random.choice(files), path, follow_symlinks=False)

    def decorate(self, count: int) -> None:
        """Change attributes."""
        for path in self._random.choices(self._things() or [self._root], k=count):
            what = self._random.randrange(5)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                continue
            if what == 0:
                path.chmod(self._random.choice((0o700, 0o755, 0o2711, 0o640)))
            elif what == 1:
                os.setxattr(path, f"user.{self._random.randrange(3)}", text(1, self._random.randrange(50)))
            elif what == 2:
                os.utime(path, ns=(1, self._random.randrange(10**18)))
            elif what == 3 and self._is_root:
                os.chown(path, self._random.randrange(3), self._random.randrange(3))
            elif what == 4 and self._is_root and path.is_dir():
                os.setxattr(path, "system.posix_acl_default", ACL)

    def lock(self) -> None:
        """Forbid changes here and there."""
        for path in self._random.choices(self._things() or [self._root], k=3):
            if self._is_root and not path.is_symlink() and (path.is_file() or path.is_dir()):
                set_flags(path, self._random.choice((0x10, 0x20, 0x80)))

    def spoil(self, count: int) -> None:
        """Lose, change, swap and move things."""
        for _ in range(count):
            things = self._things()
            if not things:
                return
            path = self._random.choice(things)
            what = self._random.randrange(5)
            if what == 0:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            elif what == 1 and stat.S_ISREG(path.lstat().st_mode):
                with path.open("r+b") as file:
                    file.seek(self._random.choice((0, 50, 100_000)))
                    file.write(b"spoilt")
            elif what == 2:
                with suppress(OSError):
                    path.rename(self._random.choice(self._places()) / self._random.choice("abcxyz"))
            else:
                self.grow(1)


@pytest.mark.parametrize("seed", range(12))
def test_any_tree_from_any_damage(seed: int, folder: Path, is_root: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place with extra things deleted; once more, which changes nothing; and to a new folder."""
    if seed % 2:
        monkeypatch.setattr(big, "FROM", 60_000)
        monkeypatch.setattr(big, "DIRECT_FROM", 60_000)
        monkeypatch.setattr(stage, "STAGED_FILES", 2)
        monkeypatch.setattr(rounds, "_WAITING_LINKS", 2)
        monkeypatch.setattr(rounds, "_WAITING_FOLDERS", 3)
    root = folder / "tree"
    root.mkdir()
    gardener = Gardener(seed, root, is_root=is_root)
    gardener.grow(60)
    gardener.decorate(20)
    age(root)
    gardener.lock()
    kept, expected = capture(root), picture(root)
    unlock(root)
    gardener.spoil(25)
    gardener.decorate(10)
    gardener.lock()
    done = kept.recover(root, delete_extra=True)
    assert done.problems == []
    assert differences(expected, picture(root)) == []
    assert kept.recover(root, delete_extra=True).written_bytes == 0
    assert differences(expected, picture(root)) == []
    assert kept.recover(folder / "new").problems == []
    assert differences(expected, picture(folder / "new")) == []

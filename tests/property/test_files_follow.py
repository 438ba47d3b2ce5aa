"""Following by chance: whatever happens to a folder between two ticks, replay of the log comes to what is there.

The watcher tells as little as the kernel may: not of a directory that something came into, not of what is below one
that came or went, of one name only where a file has several.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from hypothesis import given, settings, strategies as st

from knowngood.seal.chunker import ChunkSizes
from tests.unit.kinds_files.capturing import noise
from tests.unit.kinds_files.following import Followed, Place, Stamp, differing

_NAMES = ("a", "b", "c")
_SIZES = (0, 10, 100, 129, 5000, 70_000, 300_000, 600_000)


class Changer:
    """Does things to a folder."""

    def __init__(self, root: Path, some: random.Random) -> None:
        self.root = root
        self.some = some

    def change(self) -> None:
        """Do one; what cannot be done is not."""
        acts = [
            self.write, self.write, self.patch, self.truncate, self.unlink, self.rename, self.rename, self.mkdir,
            self.remove, self.link, self.link, self.symlink, self.chmod, self.touch, self.xattr, self.replace,
            self.sparse, self.exchange, self.pipe, self.root_mode,
        ]  # fmt: skip
        with suppress(OSError):
            self.some.choice(acts)()

    def path(self, depth: int = 3) -> Path:
        """Somewhere."""
        return self.root.joinpath(*(self.some.choice(_NAMES) for _ in range(self.some.randint(1, depth))))

    def file(self) -> Path:
        """A file that is there, most of the time."""
        files = [each for each in self.root.rglob("*") if each.is_file() and not each.is_symlink()]
        return self.some.choice(files) if files else self.path()

    def data(self) -> bytes:
        """Some content."""
        return noise(self.some.choice(_SIZES), self.some.randrange(100))

    def write(self) -> None:
        """A file, new or not."""
        with self.opened() as file:
            file.write(self.data())

    def opened(self) -> BinaryIO:
        """A file, new or not; never a pipe, for whose other end one waits."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK
        return os.fdopen(os.open(self.path(), flags, 0o644), "wb")

    def patch(self) -> None:
        """Some bytes of one."""
        with self.file().open("r+b") as file:
            file.seek(self.some.randrange(400_000))
            file.write(noise(self.some.randrange(1, 9000), self.some.randrange(100)))

    def truncate(self) -> None:
        """Shorter or longer."""
        os.truncate(self.file(), self.some.choice(_SIZES))

    def sparse(self) -> None:
        """A file with holes."""
        with self.opened() as file:
            for _ in range(self.some.randrange(4)):
                file.seek(self.some.randrange(80) * 8192)
                file.write(self.data())
            file.truncate(self.some.randrange(1_000_000))

    def unlink(self) -> None:
        """One name less."""
        self.file().unlink()

    def rename(self) -> None:
        """A file or a directory, over what is there."""
        os.rename(self.path(), self.path())

    def exchange(self) -> None:
        """Two take each other's places."""
        one, other, between = self.path(), self.path(), self.root / "between"
        os.rename(one, between)
        with suppress(OSError):
            os.rename(other, one)
        os.rename(between, one if not one.exists() else other)

    def mkdir(self) -> None:
        """With what is above it."""
        self.path().mkdir(parents=True)

    def remove(self) -> None:
        """All below."""
        path = self.path()
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def link(self) -> None:
        """One more name."""
        os.link(self.file(), self.path())

    def symlink(self) -> None:
        """Also in the place of another one."""
        path = self.path()
        with suppress(OSError):
            path.unlink()
        os.symlink(self.some.choice(("one", "another")), path)

    def pipe(self) -> None:
        """A pipe."""
        os.mkfifo(self.path())

    def chmod(self) -> None:
        """Permissions."""
        os.chmod(self.path(), self.some.choice((0o600, 0o644, 0o755)))

    def root_mode(self) -> None:
        """The root's own."""
        os.chmod(self.root, self.some.choice((0o700, 0o755)))

    def touch(self) -> None:
        """A time."""
        os.utime(self.path(), ns=(1, self.some.randrange(10**18)))

    def xattr(self) -> None:
        """Set one, or take it away."""
        path = self.path()
        if self.some.random() < 0.3:
            os.removexattr(path, "user.note")
        else:
            os.setxattr(path, "user.note", noise(self.some.randrange(50), self.some.randrange(9)))

    def replace(self) -> None:
        """As careful programs write."""
        path = self.path()
        temporary = path.with_name("temporary")
        temporary.write_bytes(self.data())
        os.rename(temporary, path)


def sparing(some: random.Random, told: Followed) -> None:
    """Let the watcher tell as little as it may."""

    def tell(changed: set[Place], before: dict[Place, Stamp]) -> set[Place]:
        now = told.told.now
        kept: set[Place] = set()
        written: dict[int, list[Place]] = {}
        for place in changed:
            one, other = before.get(place), now.get(place)
            if one and other and one[0] == other[0] and _kind(one) == _kind(other):
                if max(one[5], other[5]) > 1 and not _is_directory(one):
                    written.setdefault(one[0], []).append(place)
                elif not _is_directory(one) or not _came_into(place, before, now):
                    kept.add(place)
                continue
            kept.add(place)
        kept |= {some.choice(sorted(places)) for places in written.values()}
        return {place for place in kept if not _below_change(place, before, now) or some.random() < 0.2}

    told.told.sparing = tell


def _came_into(place: Place, before: dict[Place, Stamp], now: dict[Place, Stamp]) -> bool:
    """Whether something came into a directory, or went."""
    directory, name = place
    key = b"" if name == b"." else directory + b"\0" + name if directory else name
    names = [{(at[1], stamp[0]) for at, stamp in each.items() if at[0] == key} for each in (before, now)]
    return names[0] != names[1]


def _is_directory(stamp: Stamp) -> bool:
    return _kind(stamp) == stat.S_IFDIR


def _kind(stamp: Stamp) -> int:
    return stat.S_IFMT(stamp[1])


def _below_change(place: Place, before: dict[Place, Stamp], now: dict[Place, Stamp]) -> bool:
    """Whether a directory above is another one now, or gone, or new: that is all that is told."""
    key = place[0]
    while key:
        above, _, name = key.rpartition(b"\0")
        one, other = before.get((above, name)), now.get((above, name))
        if (one and one[0]) != (other and other[0]) or (one and one[1] & 0o170000) != (other and other[1] & 0o170000):
            return True
        key = above
    return False


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_whatever_happens(seed: int) -> None:
    """Replay comes to what is there after every tick; every checkpoint is what a scan from nothing makes."""
    some = random.Random(seed)
    with tempfile.TemporaryDirectory() as base:
        site = Followed(Path(base), sizes=ChunkSizes(1 << 16, 1 << 17, 1 << 18))
        with closing(site.follower):
            changer = Changer(site.tree, some)
            for _ in range(some.randrange(20)):
                changer.change()
            site.checkpoint()
            sparing(some, site)
            for _ in range(some.randrange(2, 6)):
                for _ in range(some.choice((1, 1, 2, 5, 15))):
                    changer.change()
                if some.random() < 0.3:
                    site.checkpoint()
                    scanned = site.scan()
                    assert differing(site.roots[-1][0], scanned, site.vault) == []
                    assert site.roots[-1][0] == scanned
                    assert site.captured.totals.files == site.scanned.totals.files
                    assert site.captured.totals.bytes == site.scanned.totals.bytes
                    site.verify(-2)
                else:
                    site.tick()
                site.verify()

"""Points as a file system: what is seen there is what would be recovered."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest

from knowngood.testing.trees import differences, picture
from tests.mounted import is_mounted, mounted, needs_fuse, until
from tests.story.shop import KIB, MIB, some_bytes
from tests.unit.kinds_files_recovery.recovering import make_zoo, unlock
from tests.user import User

pytestmark = [pytest.mark.root, needs_fuse]


@pytest.fixture
def user(tmp_path: Path) -> User:
    """At the first day."""
    return User(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where things are mounted; nothing is afterwards."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", "-l", folder], check=False, capture_output=True)
    assert not is_mounted(folder)


def test_it_shows_what_recovery_brings_back(user: User, folder: Path, tmp_path: Path) -> None:
    """Names of any bytes, holes, attributes, ACLs, flags, times, owners, hard links: the same picture."""
    make_zoo(tmp_path / "zoo")
    try:
        user.begins("shop", tmp_path / "zoo")
        user.protects()
        user.does("recover", "shop", "--to", tmp_path / "out")
        with mounted(user, folder) as server:
            assert server.document["services"] == ["shop"]
            shown = folder / "shop" / "zoo" / "latest"
            assert differences(picture(tmp_path / "out" / "zoo"), picture(shown)) == []
            assert differences(picture(tmp_path / "out" / "zoo"), picture(shown)) == []  # from what the kernel keeps
            assert server.stop() == []
    finally:
        unlock(tmp_path)


def test_moments_by_name(user: User, data: Path, folder: Path) -> None:
    """Listed, `latest`, by id, by name, in words; and new points come by themselves."""
    (data / "file").write_text("first")
    user.begins("shop", data)
    first = user.protects("shop", "--name", "before")
    (data / "file").write_text("second")
    second = user.protects()
    with mounted(user, folder) as server:
        assert os.listdir(folder) == ["shop"]
        assert os.listdir(folder / "shop") == ["data"]
        moments = folder / "shop" / "data"
        *listed, latest = os.listdir(moments)
        assert latest == "latest"
        assert listed == sorted(listed)
        assert [(moments / each / "file").read_text() for each in listed] == ["first", "second"]
        said = {
            "second": ("latest", "now", "-0s", second["id"][:8], second["moment"]),
            "first": ("before", first["id"], first["moment"]),
        }
        for content, names in said.items():
            assert [(moments / name / "file").read_text() for name in names] == [content] * len(names)
        for words in ("2001-01-01", "soon", "0" * 32, "file", "10 days ago", "2001-01-01T10-20-30"):
            with pytest.raises(FileNotFoundError):
                os.stat(moments / words)

        (data / "file").write_text("third")
        user.protects()
        until(lambda: len(os.listdir(moments)) == 4)
        until(lambda: (moments / "latest" / "file").read_text() == "third")
        assert (moments / listed[1] / "file").read_text() == "second"
        assert len(user.asks("vault", "status")["sessions"]) == 1
        server.stop()
    assert user.asks("vault", "status")["sessions"] == []
    assert os.listdir(folder) == []


def test_nothing_can_be_changed(user: User, data: Path, folder: Path) -> None:
    """The file system is read-only, for root too."""
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.protects()
    with mounted(user, folder) as server:
        shown = folder / "shop" / "data" / "latest"
        changes = [
            (os.open, shown / "new", os.O_CREAT | os.O_WRONLY),
            (os.truncate, shown / "file", 0),
            (os.unlink, shown / "file"),
            (os.mkdir, folder / "shop" / "new"),
            (os.utime, shown / "file"),
            (os.setxattr, shown / "file", "user.x", b""),
        ]
        for change, *words in changes:
            with pytest.raises(OSError, match="Read-only file system"):
                change(*words)
        server.stop()


def test_many_files(user: User, data: Path, folder: Path) -> None:
    """Other programs find their way: grep through thousands of files, and one folder with very many names."""
    for number in range(50):
        (data / f"{number}").mkdir()
        for each in range(100):
            (data / f"{number}" / f"{each}").write_text(f"needle {number}.{each}\n" if each == 7 else "hay\n" * each)
    (data / "long").mkdir()
    for number in range(20_000):
        os.symlink("x", data / "long" / f"a link with quite a long name, number {number}")
    user.begins("shop", data)
    user.protects()
    with mounted(user, folder) as server:
        shown = folder / "shop" / "data" / "latest"
        found = subprocess.run(["grep", "-r", "needle", shown], check=True, capture_output=True).stdout
        assert len(found.splitlines()) == 50
        assert sorted(os.listdir(shown / "long")) == sorted(os.listdir(data / "long"))
        with os.scandir(shown / "long") as entries:
            assert {entry.name for entry in entries if entry.is_symlink()} == set(os.listdir(data / "long"))
        subprocess.run(["diff", "-r", "--no-dereference", data, shown], check=True)
        assert server.stop() == []


def test_many_readers(user: User, data: Path, folder: Path) -> None:
    """From any place of large files, at once."""
    contents = {f"{number}": some_bytes(12 * MIB, seed=number) for number in range(3)}
    for name, content in contents.items():
        (data / name).write_bytes(content)
    user.begins("shop", data)
    user.protects()

    def reads(turn: int) -> bool:
        name = f"{turn % 3}"
        with (shown / name).open("rb", buffering=0) as file:
            offset = (turn * 1_234_567) % (11 * MIB)
            part = os.pread(file.fileno(), 300 * KIB, offset)
            whole = blake2b(file.readall()).digest()
        expected = contents[name]
        return part == expected[offset : offset + 300 * KIB] and whole == blake2b(expected).digest()

    with mounted(user, folder) as server, ThreadPoolExecutor(8) as crew:
        shown = folder / "shop" / "data" / "latest"
        assert all(crew.map(reads, range(48)))
        assert server.stop() == []


def test_stopped_while_somebody_is_inside(user: User, data: Path, folder: Path) -> None:
    """It ends all the same; what was open fails from then on."""
    (data / "file").write_bytes(some_bytes(12 * MIB))
    user.begins("shop", data)
    user.protects()
    with mounted(user, folder) as server:
        fd = os.open(folder / "shop" / "data" / "latest" / "file", os.O_RDONLY)
        assert os.read(fd, 10) == some_bytes(MIB)[:10]
        server.stop()
        assert not is_mounted(folder)
        for use in (lambda: os.pread(fd, 10, 11 * MIB), lambda: os.close(fd)):
            with pytest.raises(OSError, match=r"not connected|abort|Input/output"):
                use()


def test_unmounted_by_somebody_else(user: User, data: Path, folder: Path) -> None:
    """The command then ends as well."""
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.protects()
    with mounted(user, folder) as server:
        subprocess.run(["umount", folder], check=True)
        assert server.ends() == []


def test_killed(user: User, data: Path, folder: Path) -> None:
    """A dead server's mount cannot be used; the next mount takes its place."""
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.protects()
    with mounted(user, folder) as server:
        server.process.kill()
        server.process.wait()
        with pytest.raises(OSError, match="not connected"):
            os.listdir(folder)
        with mounted(user, folder) as again:
            assert (folder / "shop" / "data" / "latest" / "file").read_text() == "content"
            again.stop()
        assert not is_mounted(folder)


def test_damage(user: User, data: Path, folder: Path) -> None:
    """What is damaged cannot be read, and it is said why; all else can."""
    (data / "large").write_bytes(some_bytes(3 * MIB))
    user.begins("shop", data)
    user.protects()
    before = set(_packs(user))
    (data / "small").write_bytes(some_bytes(100 * KIB, seed=2))
    user.protects()
    (pack,) = before
    harmed = bytearray(pack.read_bytes())
    harmed[len(harmed) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(harmed)
    with mounted(user, folder) as server:
        shown = folder / "shop" / "data" / "latest"
        with pytest.raises(OSError, match="Input/output error"):
            (shown / "large").read_bytes()
        assert (shown / "small").read_bytes() == some_bytes(100 * KIB, seed=2)
        assert (shown / "large").stat().st_size == 3 * MIB
        said = server.stop()
    assert {(each["event"], each["path"]) for each in said} == {("unreadable", "shop/data/latest/large")}
    assert "pack" in said[0]["reason"]


def _packs(user: User) -> list[Path]:
    return [path for path in (user.vault / "packs").rglob("*") if path.is_file()]


def test_one_service_only(user: User, data: Path, folder: Path) -> None:
    """Of several."""
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.does("service", "add", "mail", "--files", data)
    user.protects("shop")
    user.protects("mail")
    with mounted(user, folder, "--service", "mail") as server:
        assert os.listdir(folder) == ["mail"]
        with pytest.raises(FileNotFoundError):
            os.stat(folder / "shop")
        server.stop()


@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("allowed", [False, True])
def test_other_users(allowed: bool, user: User, data: Path, folder: Path) -> None:
    """They see nothing; or, where they are allowed to, what modes and ACLs let them see."""
    for name, mode in (("open", 0o644), ("shut", 0o600), ("group", 0o640)):
        (data / name).write_text(name)
        (data / name).chmod(mode)
    os.chown(data / "group", 0, 65534)
    user.begins("shop", data)
    user.protects()
    with mounted(user, folder, *(["--allow-other"] if allowed else [])) as server:
        shown = folder / "shop" / "data" / "latest"
        for name, may in (("open", True), ("shut", False), ("group", True)):
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", name]
            done = subprocess.run(command, check=False, capture_output=True, cwd=shown)
            assert (done.stdout == name.encode()) == (allowed and may), (name, done)
        server.stop()


_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
_SEARCH = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
"""The temporary folders of tests, and perhaps the interpreter, lie where only root may go."""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder to which everybody finds the way: the helper asks for that."""
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        Path(base).chmod(0o755)
        folder = Path(base) / "mounted"
        folder.mkdir()
        os.chown(folder, 65534, 65534)
        yield folder


@pytest.mark.needs("fusermount3", "setpriv", "unshare", "nsenter")
def test_without_root(user: User, data: Path, public: Path, tmp_path: Path) -> None:
    """The helper mounts for those who may not. Everybody may use the device here, as on any usual machine."""
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.protects()
    os.mknod(tmp_path / "device", 0o020666, os.makedev(10, 229))
    (tmp_path / "device").chmod(0o666)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, 65534, 65534)
    own_device = ("sh", "-c", f'mount --bind {tmp_path / "device"} /dev/fuse && exec "$@"', "sh")
    with mounted(user, public, prefix=("unshare", "-m", *own_device, *_NOBODY, *_SEARCH)) as server:
        inside = ("nsenter", "-t", str(server.process.pid), "-m", *_NOBODY, *_SEARCH)
        shown = public / "shop" / "data" / "latest" / "file"
        assert subprocess.run([*inside, "cat", shown], check=True, capture_output=True).stdout == b"content"
        server.stop()

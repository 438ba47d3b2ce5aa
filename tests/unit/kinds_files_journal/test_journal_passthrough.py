"""What programs do through the mount is what they would have done without it, and the log says so."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mounted import needs_fuse
from tests.unit.kinds_files_journal.journalling import Journalled

pytestmark = [pytest.mark.root, needs_fuse]
_NOBODY = 65534


@pytest.fixture
def site(ext4_dir: Path) -> Iterator[Journalled]:
    """A folder that is journalled, on a file system that has ACLs and flags."""
    made = Journalled(ext4_dir)
    made.settle()
    yield made
    made.tick()
    made.verify()
    made.end()


def _as_nobody(code: str, path: Path, umask: int = 0o022) -> str:
    """Evaluate something about `it` as somebody without rights, standing beside it: what it is, or raises."""
    gets, puts = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.chdir(path.parent)
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            os.umask(umask)
            said = eval(code, {"os": os, "it": path.name})
            os.write(puts, str(said or "").encode())
        except OSError as wrong:
            os.write(puts, str(wrong.strerror).encode())
        finally:
            os._exit(0)
    os.close(puts)
    with os.fdopen(gets) as said_by_child:
        answer = said_by_child.read()
    os.waitpid(child, 0)
    return answer


def test_what_is_new_belongs_to_who_made_it(site: Journalled) -> None:
    """Owner, group, umask; the group of a directory that hands it on."""
    shared = site.tree / "shared"
    shared.mkdir()
    shared.chmod(0o2777)
    open_to_all = site.tree / "open"
    open_to_all.mkdir(mode=0o777)
    open_to_all.chmod(0o777)
    code = "[open(it + '/f', 'w').close(), os.mkdir(it + '/d', 0o777), os.symlink('x', it + '/s')] and None"
    for folder in (shared, open_to_all):
        assert _as_nobody(code, folder, umask=0o027) == ""
    found = [(each / name).lstat() for each in (shared, open_to_all) for name in "fds"]
    assert {each.st_uid for each in found} == {_NOBODY}
    assert [each.st_gid for each in found] == [0] * 3 + [_NOBODY] * 3
    assert [oct(each.st_mode & 0o7777) for each in found[:2]] == ["0o640", "0o2750"]


def test_who_may_not_cannot(site: Journalled) -> None:
    """Modes hold for others than root; directories with a sticky bit too."""
    secret = site.tree / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert "Permission denied" in _as_nobody("open(it)", secret)
    sticky = site.tree / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "mine").write_text("x")
    assert "Operation not permitted" in _as_nobody("os.unlink(it)", sticky / "mine")


def test_a_write_takes_privileges_away(site: Journalled) -> None:
    """Of a program with set-user-id that somebody else writes to."""
    program = site.tree / "program"
    program.write_bytes(b"x" * 100)
    for act in ("os.pwrite(os.open(it, os.O_WRONLY), b'y', 5) and None", "os.truncate(it, 50)"):
        program.chmod(0o6777)
        assert _as_nobody(act, program) == ""
        assert oct(program.stat().st_mode & 0o7777) == "0o777"


@pytest.mark.needs("setfacl", "getfacl")
def test_access_control_lists(site: Journalled) -> None:
    """They decide, are handed on, and follow the mode."""
    folder = site.tree / "folder"
    folder.mkdir()
    subprocess.run(["setfacl", "-m", f"u:{_NOBODY}:rwx", "-d", "-m", f"u:{_NOBODY}:rw", folder], check=True)
    assert _as_nobody("open(it, 'w').close()", folder / "file", umask=0o077) == ""
    (folder / "ours").write_text("x")
    shown = subprocess.run(["getfacl", "-nc", folder / "ours"], check=True, capture_output=True, text=True).stdout
    assert f"user:{_NOBODY}:rw-" in shown
    (folder / "ours").chmod(0o600)
    assert "Permission denied" in _as_nobody("open(it)", folder / "ours")
    subprocess.run(["setfacl", "-b", folder / "file"], check=True)


@pytest.mark.needs("chattr", "lsattr")
def test_file_flags(site: Journalled) -> None:
    """They can be set, do what they do, and are handed on."""
    file = site.tree / "file"
    file.write_bytes(b"one")
    subprocess.run(["chattr", "+a", file], check=True)
    with pytest.raises(PermissionError):
        file.write_bytes(b"another")
    with file.open("ab", buffering=0) as opened:
        opened.write(b"two")
    assert file.read_bytes() == b"onetwo"
    subprocess.run(["chattr", "-a", file], check=True)
    (site.tree / "folder").mkdir()
    subprocess.run(["chattr", "+dA", site.tree / "folder"], check=True)
    (site.tree / "folder" / "new").write_bytes(b"")


def test_extended_attributes(site: Journalled) -> None:
    """Also of symlinks, also those for root alone, which others do not see."""
    file, link = site.tree / "file", site.tree / "link"
    file.write_bytes(b"x")
    link.symlink_to("file")
    os.setxattr(file, "user.note", b"1")
    os.setxattr(file, "user.note", b"2", os.XATTR_REPLACE)
    os.setxattr(file, "trusted.ours", b"3")
    os.setxattr(link, "trusted.ours", b"4", follow_symlinks=False)
    os.setxattr(file, "user.gone", bytes(3000))
    os.removexattr(file, "user.gone")
    assert os.listxattr(link, follow_symlinks=False) == ["trusted.ours"]
    assert _as_nobody("os.listxattr(it)", file) == "['user.note']"
    with pytest.raises(OSError, match="No data"):
        os.removexattr(file, "user.gone")


def test_all_kinds_of_things(site: Journalled) -> None:
    """Pipes, sockets, devices, hard links, strange names, deep folders."""
    tree = site.tree
    os.mkfifo(tree / "pipe")
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        os.chdir(tree)
        try:
            listener.bind("socket")
            listener.listen()
            client.connect("socket")
        finally:
            os.chdir("/")
    (tree / "null").write_bytes(b"into nothing")
    (tree / "name\nwith \\ and \udcff").write_bytes(b"x")
    deep = tree
    for _ in range(40):
        deep = deep / ("d" * 60)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    os.link(deep / "file", tree / "other")
    assert (tree / "other").stat().st_ino == (deep / "file").stat().st_ino
    (deep / "file").unlink()
    (tree / "other").write_bytes(b"changed")
    assert stat.S_ISSOCK((tree / "socket").stat().st_mode)


def test_many_names(site: Journalled) -> None:
    """A directory is listed whole, with what a listing says of each."""
    for number in range(3000):
        (site.tree / f"{number:05}").touch()
    assert sorted(os.listdir(site.tree)) == [f"{number:05}" for number in range(3000)]
    with os.scandir(site.tree) as entries:
        assert all(each.is_file() and each.stat().st_size == 0 for each in entries)
    for number in range(0, 3000, 2):
        (site.tree / f"{number:05}").unlink()
    assert len(os.listdir(site.tree)) == 1500


def _opened(path: Path, flags: int, act: Callable[[int], object]) -> None:
    fd = os.open(path, flags, 0o644)
    try:
        act(fd)
    finally:
        os.close(fd)


def test_ways_to_write(site: Journalled) -> None:
    """Appending, truncating, synchronously, from another file, beyond the end."""
    file = site.tree / "file"
    _opened(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, lambda fd: os.write(fd, b"first"))
    with pytest.raises(FileExistsError):
        os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    _opened(file, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"+more"))
    _opened(file, os.O_WRONLY | os.O_DSYNC, lambda fd: os.pwrite(fd, b"F", 0))
    _opened(file, os.O_RDWR | os.O_CREAT, lambda fd: os.pwrite(fd, b"far", 1 << 20))
    assert file.read_bytes()[:10] == b"First+more"
    copy = site.tree / "copy"

    def copied(fd: int) -> None:
        with file.open("rb") as source:
            assert os.copy_file_range(source.fileno(), fd, 100) == 100
            assert os.sendfile(fd, source.fileno(), 0, 50) == 50

    _opened(copy, os.O_WRONLY | os.O_CREAT, copied)
    assert copy.read_bytes() == file.read_bytes()[:100] + file.read_bytes()[:50]
    _opened(file, os.O_WRONLY | os.O_TRUNC, lambda fd: os.write(fd, b"anew"))
    _opened(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.fsync)
    _opened(site.tree, os.O_RDONLY | os.O_DIRECTORY, os.fsync)
    assert file.read_bytes() == b""
    assert os.statvfs(file).f_blocks > 0


def test_what_was_changed_underneath_is_seen(site: Journalled) -> None:
    """Not by the journal, but by the next checkpoint of that file, which then says that something is missing."""
    file = site.tree / "file"
    file.write_bytes(b"through the mount")
    site.tick()
    (Path(f"/proc/self/fd/{site.follower._below.root}") / "file").write_bytes(b"underneath")
    records = site.checkpoint()
    assert records[-1].operation == 12
    assert "underneath" in site.follower.standing.reason
    os.stat(file)
    site.settle()

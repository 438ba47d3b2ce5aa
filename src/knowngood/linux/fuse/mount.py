"""Mounting and unmounting of a file system that this process serves: mount(2), or fusermount3(1) for those not root."""

from __future__ import annotations

import array
import ctypes
import errno
import os
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from knowngood.core.errors import KnowngoodError, NotFound, Unsupported, UsageError
from knowngood.core.sizes import KIB

DEVICE = "/dev/fuse"
NAME = "knowngood"
"""What `mount` and `df` show as the source."""

_TYPE = f"fuse.{NAME}"
_HELPER = "fusermount3"
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_ATIME = 0x1, 0x2, 0x4, 0x400  # <linux/mount.h>, MS_…
_FORCE, _DETACH = 0x1, 0x2  # umount2(2)
_DEAD = frozenset({errno.ENOTCONN, errno.ECONNABORTED})  # the server has gone
_CONNECTIONS = "/sys/fs/fuse/connections"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@dataclass(frozen=True, slots=True)
class Options:
    """How to mount. Device nodes and set-user-ids never work inside: what is shown may come from elsewhere."""

    read_only: bool = True
    allow_other: bool = False  # others than who mounts may look in, as far as the modes of files allow
    max_read: int = 128 * KIB  # bytes of one READ; a multiple of the page size
    flags: int | None = None  # as of mount(2), for root: instead of all that is said above of what works inside


class Mounted:
    """A file system that is mounted, and its line to the kernel."""

    def __init__(self, folder: str, fd: int, *, helped: bool) -> None:
        self.folder = folder
        self.fd = fd
        self._helped = helped
        self._device = 0

    def learn(self, readahead: int) -> None:
        """Once it is served: look at it, and let the kernel read `readahead` bytes ahead where we may say so.

        The kernel reads 128 KiB ahead by default, which is less than one chunk.
        """
        with suppress(OSError):
            self._device = os.stat(self.folder).st_dev
            major, minor = os.major(self._device), os.minor(self._device)
            with open(f"/sys/class/bdi/{major}:{minor}/read_ahead_kb", "w", encoding="ascii") as file:
                file.write(str(readahead // KIB))

    def unmount(self) -> None:
        """Take it away at once, whoever is inside: what they had open fails from now on. Nothing if it is gone."""
        if self._helped:
            self._abort()
            _helped_unmount(self.folder)
            return
        try:
            # The first flag ends the connection, so that no request waits for us any more; the second takes the mount
            # away even while somebody stands in it.
            _check(_libc.umount2(os.fsencode(self.folder), _FORCE | _DETACH))
        except OSError:  # it is not there any more, but somebody may still be inside
            self._abort()

    def _abort(self) -> None:
        with suppress(OSError), open(f"{_CONNECTIONS}/{os.minor(self._device)}/abort", "w", encoding="ascii") as file:
            file.write("1")

    def close(self) -> None:
        """Let go of the line; the kernel ends what is left of the file system."""
        os.close(self.fd)


def prepare_folder(folder: str) -> None:
    """Make sure that something can be mounted over a folder; takes mounts away that dead servers have left there.

    Raises NotFound, UsageError, KnowngoodError.
    """
    while True:
        try:
            names = os.listdir(folder)
            break
        except FileNotFoundError:
            raise NotFound(f"there is no folder {folder}", hint=f"make it with: mkdir -p {folder}") from None
        except NotADirectoryError:
            raise UsageError(f"{folder} is not a folder", hint="name an empty folder") from None
        except OSError as wrong:
            if wrong.errno not in _DEAD:
                said = f"cannot look into {folder}: {wrong.strerror}"
                raise KnowngoodError(said, hint="check its owner and rights") from None
        detach(folder)
    if names:
        raise UsageError(f"{folder} is not empty; what is in it would be hidden", hint="name an empty folder")


def detach(folder: str) -> None:
    """Take a mount away, now or when its last user ends. Raises KnowngoodError."""
    try:
        _check(_libc.umount2(os.fsencode(folder), _DETACH))
    except OSError as wrong:
        if wrong.errno == errno.EPERM and _helped_unmount(folder):
            return
        raise KnowngoodError(
            f"cannot unmount what a dead server has left at {folder}: {wrong.strerror}", hint=f"umount -l {folder}"
        ) from None


def mount(folder: str, options: Options) -> Mounted:
    """Mount a file system over a folder. Nothing in it can be reached until somebody answers its requests.

    Source: mount(2), and the options in Documentation/filesystems/fuse.rst of the kernel. Raises Unsupported,
    KnowngoodError.
    """
    if not os.path.exists(DEVICE):
        raise Unsupported(f"this machine has no {DEVICE}", hint="as root: modprobe fuse")
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return _helped_mount(folder, options)
    except OSError as wrong:
        raise Unsupported(f"{DEVICE} cannot be used: {wrong.strerror}", hint="as root: modprobe fuse") from None
    words = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},{_common(options)}"
    flags = _NO_SETUID | _NO_DEVICES | _NO_ATIME | (_READ_ONLY if options.read_only else 0)
    if options.flags is not None:
        flags = options.flags
    try:
        _check(_libc.mount(NAME.encode(), os.fsencode(folder), _TYPE.encode(), ctypes.c_ulong(flags), words.encode()))
    except OSError as wrong:
        os.close(fd)
        if wrong.errno == errno.EPERM:
            return _helped_mount(folder, options)
        raise KnowngoodError(f"cannot mount over {folder}: {wrong.strerror}") from None
    return Mounted(folder, fd, helped=False)


def _common(options: Options) -> str:
    other = ",allow_other" if options.allow_other else ""
    return f"default_permissions,max_read={options.max_read}{other}"


# ------------------------------------------------------------------------------------------- for those not root


def _helped_mount(folder: str, options: Options) -> Mounted:
    """Let the set-user-id helper mount: it opens the device and passes it through a socket."""
    if not shutil.which(_HELPER):
        raise Unsupported(
            f"mounting needs root, or the program {_HELPER}", hint="run it as root, or install the package fuse3"
        )
    words = f"{_common(options)},nosuid,nodev,noatime,fsname={NAME},subtype={NAME}{',ro' if options.read_only else ''}"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done = subprocess.run(
            [_HELPER, "-o", words, "--", folder],
            check=False,
            capture_output=True,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
        )
        if done.returncode:
            said = " ".join(done.stderr.decode(errors="replace").split()) or f"{_HELPER} failed"
            hint = "let /etc/fuse.conf say user_allow_other, or run it as root" if options.allow_other else ""
            raise KnowngoodError(f"cannot mount over {folder}: {said}", hint=hint)
        theirs.close()  # a helper that passed nothing is then noticed, and not waited for
        return Mounted(folder, _received(ours), helped=True)


def _received(line: socket.socket) -> int:
    """The descriptor that comes with the one byte on the line (SCM_RIGHTS, unix(7))."""
    fds = array.array("i")
    _, ancillary, _, _ = line.recvmsg(1, socket.CMSG_SPACE(fds.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: fds.itemsize])
    if not fds:
        raise KnowngoodError(f"{_HELPER} passed no device")
    os.set_inheritable(fds[0], False)
    return fds[0]


def _helped_unmount(folder: str) -> bool:
    if not shutil.which(_HELPER):
        return False
    done = subprocess.run([_HELPER, "-u", "-q", "-z", "--", folder], check=False, capture_output=True)
    return done.returncode == 0

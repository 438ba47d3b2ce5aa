"""Records every change that an action makes below a folder, in a child process, over all of its threads.

The functions of `os` that change anything are replaced in the child. One lock is held around each of them, so the order
on record is the order in which the kernel was asked. What would go past the record is refused (files that Python's own
`open` would write, functions that nobody has taught to this module), and whoever records compares the folder with the
record afterwards (`Disk.differences`): a change that got past all the same shows there.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowngood.testing.crash.operations import Operation, What
from knowngood.testing.forking import fork
from knowngood.testing.killer import ChildFailed

_SECONDS = 300  # after which a child that hangs is ended
_REFUSED = (
    *("sendfile", "copy_file_range", "posix_fallocate", "truncate", "splice"),
    *("symlink", "mknod", "mkfifo", "pwritev", "removedirs", "renames"),
)
_ALIKE = {"remove": "unlink", "replace": "rename", "fdatasync": "fsync"}

Tell = Callable[..., None]
"""Called by an action with words that go on record between its changes."""


class NotRecorded(Exception):
    """The action does something that this recorder would miss."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was done, in order; whether the action came to its end, or was killed as it was told to."""

    operations: list[Operation]
    finished: bool


def record(
    action: Callable[[Tell], object],
    root: Path,
    nodes: Mapping[str, int],
    highest: int,
    *,
    kill_at: int | None = None,
    before_sync: bool = False,
) -> Recording:
    """Run an action in a child and record what it changes below `root`.

    `nodes` has the number of all that is there, by path; what is made gets numbers above `highest`. With `kill_at`, the
    process ends before that change, as by `kill -9`; with `before_sync`, before the first sync from there on: what it
    has just done is seen by all, and not durable.

    Raises ChildFailed when the action raises.
    """
    reading, writing = os.pipe()
    child = fork()
    if not child:
        os.close(reading)
        _child(action, _Tap(root, nodes, highest, (kill_at, before_sync), writing))
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if not told:
        raise ChildFailed("the child ended without a word")
    what, rest = pickle.loads(told)  # noqa: S301 - our own child's words
    if what == "raised":
        raise ChildFailed(rest)
    return Recording([Operation(What(each[0]), *each[1:]) for each in rest], what == "finished")


def _child(action: Callable[[Tell], object], tap: _Tap) -> None:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        tap.tap()
        action(tap.mark)
        tap.end("finished")
    except BaseException:  # noqa: BLE001 - all that is left to do is to tell
        tap.end("raised", traceback.format_exc())
    finally:
        os._exit(0)  # nothing of the parent's runs here: no handlers, no buffers, no fixtures


class _Tap:
    """Between an action and `os`."""

    def __init__(
        self, root: Path, nodes: Mapping[str, int], highest: int, kill: tuple[int | None, bool], report: int
    ) -> None:
        self._root = os.path.realpath(root)
        self._kill_at, self._before_sync = kill
        self._report = report
        self._lock = threading.RLock()
        self._log: list[Operation] = []
        self._changes = 0
        self._real = {name: getattr(os, name) for name in dir(os)}
        self._next = highest + 1
        self._nodes = {self._identity(os.stat(os.path.join(root, path))): node for path, node in nodes.items()}

    # ------------------------------------------------------------------------------------------------- the taps

    def tap(self) -> None:
        """From now on everything is on record."""
        for name in ("open", "write", "writev", "pwrite", "fsync", "link", "unlink", "rename", "mkdir", "rmdir"):
            setattr(os, name, self._guarded(getattr(self, f"_{name}")))
        os.ftruncate = self._guarded(self._ftruncate)
        for name, same in _ALIKE.items():
            setattr(os, name, getattr(os, same))
        for name in _REFUSED:
            setattr(os, name, self._refuse(name))
        sys.addaudithook(self._hear)

    def _guarded(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                return act(*args, **kwargs)

        return guarded

    def _refuse(self, name: str) -> Callable[..., Any]:
        real = self._real.get(name)

        def refusing(*args: Any, **kwargs: Any) -> Any:
            paths = [
                os.path.realpath(os.fsdecode(each)) for each in args if isinstance(each, str | bytes | os.PathLike)
            ]
            handles = [each for each in args[:1] if isinstance(each, int)]
            if any(self._is_below(path) for path in paths) or any(self._node(handle) for handle in handles):
                raise NotRecorded(f"the crash machine does not know os.{name}")
            assert real
            return real(*args, **kwargs)

        return refusing

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            path = args[0]
            if isinstance(path, str | bytes) and self._is_below(os.path.realpath(os.fsdecode(path))):
                raise NotRecorded(f"the crash machine sees files only that are written through os: {path!r}")

    # ------------------------------------------------------------------------------------------------- the record

    def mark(self, *words: object) -> None:
        """The action says something."""
        with self._lock:
            self._log.append(Operation(What.MARK, mark=words))

    def end(self, what: str, more: object = None) -> None:
        """Tell the parent, and be gone."""
        with self._lock:
            told = more if what == "raised" else [(each.what.value, *each[1:]) for each in self._log]
            data = memoryview(pickle.dumps((what, told)))
            while data:
                data = data[self._real["write"](self._report, data) :]
            os._exit(0)

    def _note(self, operation: Operation) -> None:
        self._log.append(operation)

    def _about_to(self, known: object, *, is_sync: bool = False) -> None:
        """A change of something on record comes: unless this is where the process ends."""
        if known:
            if self._kill_at is not None and self._changes >= self._kill_at and is_sync >= self._before_sync:
                self.end("killed")
            self._changes += 1

    @staticmethod
    def _identity(found: os.stat_result) -> tuple[int, int]:
        return found.st_dev, found.st_ino

    def _node(self, handle: int) -> int:
        """The number of an open file or folder; 0 when it is not on record."""
        try:
            return self._nodes.get(self._identity(os.fstat(handle)), 0)
        except OSError:
            return 0

    def _is_below(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + os.sep)

    def _place(self, path: Any, dir_fd: int | None = None) -> tuple[int, str]:
        """The folder of a path, 0 when it is not on record, and the name in it."""
        text = os.fsdecode(path)
        above, name = os.path.split(text)
        try:
            found = os.stat(above or ".", dir_fd=dir_fd)
        except OSError:
            return 0, name
        return self._nodes.get(self._identity(found), 0), name

    def _new(self, found: os.stat_result) -> int:
        node, self._next = self._next, self._next + 1
        self._nodes[self._identity(found)] = node
        return node

    # -------------------------------------------------------------------------------------------------- the calls

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        folder, name = self._place(path, dir_fd)
        changes = bool(flags & (os.O_CREAT | os.O_TRUNC))
        there = not changes or self._there(path, dir_fd)
        self._about_to(folder and changes)
        handle = self._real["open"](path, flags, mode, dir_fd=dir_fd)
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            if self._nodes.get(self._identity(os.stat(path, dir_fd=dir_fd))):
                self._new(os.fstat(handle))
        elif folder and flags & os.O_CREAT and not there:
            self._note(Operation(What.LINK, folder, name, self._new(os.fstat(handle))))
        elif flags & os.O_TRUNC and self._node(handle):
            self._note(Operation(What.SIZE, self._node(handle)))
        return handle

    def _there(self, path: Any, dir_fd: int | None) -> bool:
        try:
            os.lstat(path, dir_fd=dir_fd)
        except OSError:
            return False
        return True

    def _written(self, handle: int, node: int, data: bytes) -> None:
        if node:
            at = os.lseek(handle, 0, os.SEEK_CUR) - len(data)
            self._note(Operation(What.WRITE, node, offset=at, data=data))

    def _write(self, handle: int, data: Any) -> int:
        node = self._node(handle)
        self._about_to(node)
        done = self._real["write"](handle, data)
        if node:
            self._written(handle, node, bytes(memoryview(data).cast("B")[:done]))
        return done

    def _writev(self, handle: int, parts: Any) -> int:
        node = self._node(handle)
        self._about_to(node)
        done = self._real["writev"](handle, parts)
        if node:
            self._written(handle, node, b"".join(parts)[:done])
        return done

    def _pwrite(self, handle: int, data: Any, offset: int) -> int:
        node = self._node(handle)
        self._about_to(node)
        done = self._real["pwrite"](handle, data, offset)
        if node:
            kept = bytes(memoryview(data).cast("B")[:done])
            self._note(Operation(What.WRITE, node, offset=offset, data=kept))
        return done

    def _ftruncate(self, handle: int, length: int) -> None:
        node = self._node(handle)
        self._about_to(node)
        self._real["ftruncate"](handle, length)
        if node:
            self._note(Operation(What.SIZE, node, offset=length))

    def _fsync(self, handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        node = self._node(number)
        self._about_to(node, is_sync=True)
        self._real["fsync"](number)
        if node:
            self._note(Operation(What.SYNC, node))

    def _link(self, source: Any, target: Any, **more: Any) -> None:
        folder, name = self._place(target, more.get("dst_dir_fd"))
        self._about_to(folder)
        self._real["link"](source, target, **more)
        if folder:
            found = os.stat(target, dir_fd=more.get("dst_dir_fd"))
            node = self._nodes.get(self._identity(found))
            if node is None:
                raise NotRecorded("the crash machine does not know where a linked file comes from")
            self._note(Operation(What.LINK, folder, name, node))

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        folder, name = self._place(path, dir_fd)
        self._about_to(folder)
        self._real["unlink"](path, dir_fd=dir_fd)
        if folder:
            self._note(Operation(What.UNLINK, folder, name))

    def _rename(self, source: Any, target: Any, **more: Any) -> None:
        folder, name = self._place(source, more.get("src_dir_fd"))
        into, new = self._place(target, more.get("dst_dir_fd"))
        self._about_to(folder or into)
        self._real["rename"](source, target, **more)
        if folder and into:
            found = os.lstat(target, dir_fd=more.get("dst_dir_fd"))
            node = self._nodes[self._identity(found)]
            self._note(Operation(What.RENAME, folder, name, node, into, new))
        elif folder or into:
            raise NotRecorded("the crash machine does not know where a renamed file comes from, or goes")

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        folder, name = self._place(path, dir_fd)
        self._about_to(folder)
        self._real["mkdir"](path, mode, dir_fd=dir_fd)
        if folder:
            node = self._new(os.stat(path, dir_fd=dir_fd))
            self._note(Operation(What.LINK, folder, name, node, is_folder=True))

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        folder, name = self._place(path, dir_fd)
        self._about_to(folder)
        self._real["rmdir"](path, dir_fd=dir_fd)
        if folder:
            self._note(Operation(What.UNLINK, folder, name))

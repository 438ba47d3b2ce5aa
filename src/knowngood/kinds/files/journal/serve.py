"""The journal's server: a process of its own for one component, which outlives the keeper that started it.

It opens the component's folder, mounts the file system over it, and answers the keeper on a socket in its state folder.
It ends when the file system is unmounted: by the keeper, by an administrator, or with the machine.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from knowngood.core.errors import Busy, KnowngoodError
from knowngood.core.sizes import GIB, MIB
from knowngood.kinds.files.journal import renewal
from knowngood.kinds.files.journal.acting import Acting
from knowngood.kinds.files.journal.contents import LARGEST
from knowngood.kinds.files.journal.control import READY, Control, Site
from knowngood.kinds.files.journal.filesystem import WANTED, FileSystem
from knowngood.kinds.files.journal.nodes import Nodes
from knowngood.kinds.files.journal.reading import newest_entry
from knowngood.kinds.files.journal.scope import Scope
from knowngood.kinds.files.journal.writing import FOLDER, Bounds, JournalWriter
from knowngood.linux.beneath import serve_writeback
from knowngood.linux.fuse.mount import Mounted, Options, detach, mount
from knowngood.linux.fuse.server import Server
from knowngood.wire.fuse.requests import Request

LOCK = "lock"
_LOG = "server.log"
_LOG_BYTES = MIB
_SMALLEST = 16 * MIB  # of a journal, however full its disk is: then the disk is the bound
_THREADS = 8
_LOCK_SECONDS = 5.0
_READAHEAD = MIB
_NICE = -20
_PAUSE_SECONDS = 5.0  # so long is waited for requests that are under way
_DEAD = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
_FLAGS = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME


def main(words: Sequence[str] | None = None) -> int:
    """Begin to serve in the background; return when everything can be reached."""
    options = _parser().parse_args(words)
    if options.understands:
        return 0 if options.understands == renewal.FORMAT else 1
    if options.handed >= 0:
        return _serve(options, -1)
    gets, puts = os.pipe()
    if os.fork():
        os.close(puts)
        with os.fdopen(gets, encoding="utf-8") as said:
            answer = said.read()
        sys.stdout.write(answer)
        return 0 if answer == READY else 1
    os.close(gets)
    os.setsid()
    return _serve(options, puts)


def _serve(options: argparse.Namespace, puts: int) -> int:
    """Serve until it is unmounted; the process ends with it."""
    status = 1
    try:
        _Process(options, puts).run()
        status = 0
    except KnowngoodError as wrong:
        _say(puts, wrong.message)
    except BaseException as wrong:  # noqa: BLE001 the last chance to say what it was
        _say(puts, f"{type(wrong).__name__}: {wrong}")
    finally:
        os._exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="knowngood-journal")
    parser.add_argument("path", nargs="?", default="")
    parser.add_argument("state", nargs="?", default="")
    parser.add_argument("--caches", action="store_true")
    parser.add_argument("--one-file-system", action="store_true")
    parser.add_argument("--total", type=int, default=GIB)
    parser.add_argument("--handed", type=int, default=-1)
    parser.add_argument(renewal.UNDERSTANDS, type=int, default=0)
    return parser


def _say(pipe: int, text: str) -> None:
    if pipe < 0:  # nobody waits for it
        return
    with suppress(OSError):
        os.write(pipe, text.encode())
        os.close(pipe)


class _Process:
    """What the background process does."""

    def __init__(self, options: argparse.Namespace, ready: int) -> None:
        self._options = options
        self._ready = ready
        self._state = os.path.join(options.state, "journal")
        self._ended = threading.Event()
        self._log_fd = -1
        self._handed = renewal.take(options.handed) if options.handed >= 0 else None

    def run(self) -> None:
        """Serve until it is unmounted. Raises KnowngoodError when it cannot begin."""
        entries, handed = os.path.join(self._state, FOLDER), self._handed
        os.makedirs(entries, mode=0o700, exist_ok=True)
        os.chmod(self._state, 0o700)  # what is in it is told to nobody
        self._lock_fd = handed.lock if handed else self._lock()
        self._prepare()
        self._root = root = handed.root if handed else open_below(self._options.path)
        here = os.fstat(root)
        scope = Scope(here.st_dev, self._options.caches, self._options.one_file_system)
        self._acting = acting = Acting(Nodes(root, scope), self._writer(entries))
        self._files = files = FileSystem(acting, root)
        if handed:
            acting.nodes.restore(handed.next_node, handed.nodes)
            files.contents.restore(handed.handles)
            files.listings.restore(handed.listings)
        self._mounted = Mounted(self._options.path, handed.device, helped=False) if handed else self._mount(root)
        try:
            self._begin()
        except BaseException:  # nobody would answer who looks there
            detach(self._options.path)
            raise
        while not self._ended.wait(3600):
            pass
        self._control.stop()
        with acting.order:
            acting.journal.close(ends=True)
        os.close(self._lock_fd)

    def _writer(self, entries: str) -> JournalWriter:
        handed = self._handed
        if handed:
            self._total = handed.total
        else:
            room = os.statvfs(entries)
            self._total = min(self._options.total, max(_SMALLEST, room.f_bavail * room.f_frsize // 2))
        bounds = Bounds(file=min(16 * MIB, self._total // 8), total=self._total)
        if not handed:
            return JournalWriter(entries, newest_entry(entries), bounds)
        writer = JournalWriter(entries, handed.entry, bounds, begins=False)
        writer.lost = handed.lost
        return writer

    def _begin(self) -> None:
        """Begin to answer the kernel and the keeper."""
        acting, handed = self._acting, self._handed
        self._server = server = Server(
            self._mounted,
            self._files.handle,
            wanted=WANTED,
            threads=_THREADS,
            max_read=LARGEST,
            max_write=LARGEST,
            quick=True,
            agreed=handed.agreed if handed else 0,
            failed=self._failed,
            ended=self._ended.set,
        )
        site, listener = Site(self._options.path, self._root), handed.listener if handed else -1
        self._control = control = Control(self._state, acting, site, self._ended, self._renew, listener)
        acting.may_wait = server.may_wait
        server.start()
        if not handed:
            self._mounted.learn(_READAHEAD)
        if handed:
            control.renewals = handed.renewals
        control.start(handed.mount if handed else 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: control.unmount())
        self._say_ready()

    def _renew(self, program: str) -> None:
        """Go on as another program; return when that cannot be, and nothing has changed."""
        acting, server, options = self._acting, self._server, self._options
        if not renewal.can(program):
            return
        words = [options.path, options.state, f"--total={options.total}"]
        words += ["--caches"] * options.caches + ["--one-file-system"] * options.one_file_system
        paused = server.pause(_PAUSE_SECONDS, self._ask_kernel)
        try:
            if paused and acting.order.acquire(blocking=False):  # else all writers are held
                try:
                    acting.journal.sync()
                    renewal.go_on_as(program, words, self._all())
                finally:
                    acting.order.release()
        except OSError as wrong:
            self._note(f"cannot go on as {program}: {wrong.strerror}")
        finally:
            server.resume()

    def _ask_kernel(self) -> None:
        with suppress(OSError):
            os.statvfs(self._options.path)

    def _all(self) -> renewal.Handed:
        following, nodes = self._acting.nodes.saved()
        return renewal.Handed(
            device=self._mounted.fd,
            root=self._root,
            lock=self._lock_fd,
            listener=self._control.listener,
            agreed=self._server.agreed,
            mount=self._control.mount,
            entry=self._acting.journal.next,
            lost=self._acting.journal.lost,
            total=self._total,
            renewals=self._control.renewals + 1,
            nodes=nodes,
            next_node=following,
            handles=self._files.contents.saved(),
            listings=self._files.listings.saved(),
        )

    def _lock(self) -> int:
        lock = os.open(os.path.join(self._state, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # one that was told to stop may be about to end
                if time.monotonic() > deadline:
                    raise Busy(f"the journal of {self._options.path} is being kept already") from None
                time.sleep(0.05)
            else:
                return lock

    def _prepare(self) -> None:
        os.umask(0)
        os.chdir("/")
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        serve_writeback()
        # The keeper steps back for what it protects; what it protects waits for this process alone.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _NICE)
        with suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:  # sched(7)
            file.write(str(_NICE))
        with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("-500")

    def _mount(self, root: int) -> Mounted:
        flags = os.fstatvfs(root).f_flag & _FLAGS
        return mount(self._options.path, Options(read_only=False, allow_other=True, max_read=LARGEST, flags=flags))

    def _say_ready(self) -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        _say(self._ready, READY)

    def _failed(self, request: Request, wrong: Exception) -> None:
        """A request that should not have failed."""
        self._note(f"request {request.opcode}: {type(wrong).__name__}: {wrong}")

    def _note(self, line: str) -> None:
        """A line in a file of bounded size."""
        with suppress(OSError):
            if self._log_fd < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._log_fd = os.open(os.path.join(self._state, _LOG), flags, 0o600)
            if os.fstat(self._log_fd).st_size < _LOG_BYTES:
                os.write(self._log_fd, f"{line}\n".encode())


def open_below(path: str) -> int:
    """The component's folder, for reaching what is in it; takes away what a dead server has left over it.

    Raises KnowngoodError.
    """
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as wrong:
            if wrong.errno not in _DEAD:
                raise KnowngoodError(f"cannot open {path}: {wrong.strerror}") from None
        detach(path)


if __name__ == "__main__":
    sys.exit(main())

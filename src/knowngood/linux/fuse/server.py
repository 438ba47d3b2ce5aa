"""The threads that answer the kernel. Each reads a request, has it handled, and writes the reply.

There is one descriptor for all: the kernel gives each request to one of those who wait. Handlers run in several threads
at once.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from knowngood.core.errors import Unsupported
from knowngood.core.sizes import KIB
from knowngood.linux.fuse.mount import Mounted
from knowngood.wire.fuse import replies
from knowngood.wire.fuse.bodies import Init
from knowngood.wire.fuse.opcodes import SILENT, InitFlag, Opcode
from knowngood.wire.fuse.replies import Agreement, Reply
from knowngood.wire.fuse.requests import Malformed, Request, parse

Handle = Callable[[Request], Reply]
"""Answers one request. An OSError that it raises becomes the reply; anything else is a failure of ours, and EIO."""

_BEYOND_WRITE = 4 * KIB  # header and fields of the longest request
_SMALLEST = 8 * KIB  # FUSE_MIN_READ_BUFFER
_BACKGROUND = 64  # requests of readahead that the kernel keeps under way
_GONE = frozenset({errno.ENODEV, errno.ECONNABORTED, errno.EBADF})
_AGAIN = frozenset({errno.ENOENT, errno.EINTR, errno.EAGAIN})  # whoever asked does not wait any more
_JOIN_SECONDS = 10
_INIT = int(Opcode.INIT)
_PARTS = 1024  # IOV_MAX: a long listing has more


class Server:
    """Serves a mounted file system until it is unmounted, by whomever."""

    def __init__(
        self,
        mounted: Mounted,
        handle: Handle,
        *,
        wanted: int,
        threads: int,
        max_read: int,
        max_write: int = 4 * KIB,
        quick: bool = False,
        agreed: int = 0,
        failed: Callable[[Request, Exception], None],
        ended: Callable[[], None],
    ) -> None:
        """`wanted` are flags of INIT, `max_read` and `max_write` the most bytes of one request.

        With `quick`, a thread that reads a request handles it before another one reads the next, which saves many
        changes between threads; handlers are to call `may_wait` before they wait for anything.
        `agreed` are the flags of INIT, where another program had it before on the same line to the kernel.
        `failed` is told of what a handler should not have raised; `ended` is called when the last thread has ended.
        """
        self.agreement: Agreement | None = None
        self.agreed = agreed  # its flags
        self._mounted = mounted
        self._handle = handle
        self._wanted = wanted
        self._max_read = max_read
        self._max_write = max_write
        self._failed = failed
        self._ended = ended
        self._quick = quick
        self._turn = threading.Lock()  # whose turn it is to read
        self._mine = threading.local()
        self._left = threads
        self._lock = threading.Lock()
        self._paused = False
        self._parked = 0
        self._parking = threading.Condition()
        # Daemons: were one held up for ever, by a disk say, the process could still end, and the mount with it.
        self._threads = [threading.Thread(target=self._run, name=f"fuse-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        """Begin to answer."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Unmount, and wait for the threads. Call it once."""
        self._mounted.unmount()
        deadline = monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._mounted.close()

    def pause(self, seconds: float, ask: Callable[[], None]) -> bool:
        """Take no more requests; whether all that were taken are answered by now. Call `resume` afterwards.

        `ask` makes the kernel send a request, so that whoever waits for one comes back. It may wait for the answer as
        long as it takes.
        """
        with self._parking:
            self._paused = True
        threading.Thread(target=ask, name="fuse-ask", daemon=True).start()
        with self._parking:
            return self._parking.wait_for(lambda: self._parked == self._left, seconds)

    def resume(self) -> None:
        """Take requests again."""
        with self._parking:
            self._paused = False
            self._parking.notify_all()

    def _park(self) -> None:
        self.may_wait()
        with self._parking:
            self._parked += 1
            self._parking.notify_all()
            self._parking.wait_for(lambda: not self._paused)
            self._parked -= 1

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self.may_wait()
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self._ended()

    def _serve(self) -> None:
        fd = self._mounted.fd
        buffer = bytearray(max(_SMALLEST, self._max_write + _BEYOND_WRITE))
        view = memoryview(buffer)
        while True:
            self._take_turn()
            if self._paused:
                self._park()
                continue
            try:
                length = os.readv(fd, [buffer])
                if not self._quick:
                    self.may_wait()
            except OSError as wrong:
                if wrong.errno in _AGAIN:
                    continue
                if wrong.errno in _GONE:
                    return
                raise
            answer = self._answer(view[:length])
            if answer is not None and not self._send(fd, answer):
                return

    def _take_turn(self) -> None:
        if not getattr(self._mine, "turn", False):
            self._turn.acquire()
            self._mine.turn = True

    def may_wait(self) -> None:
        """What this thread is about to do may take long: another one reads what comes meanwhile."""
        if getattr(self._mine, "turn", False):
            self._mine.turn = False
            self._turn.release()

    def _send(self, fd: int, answer: Reply) -> bool:
        """Send a reply; False when there is nobody to send to any more."""
        if len(answer) > _PARTS:
            answer = (b"".join(answer),)
        try:
            os.writev(fd, answer)
        except OSError as wrong:
            if wrong.errno in _AGAIN or wrong.errno in _GONE:
                return wrong.errno in _AGAIN
            # The kernel refuses a reply that makes no sense to it; whoever asked must not wait for ever.
            with suppress(OSError):
                os.writev(fd, replies.error(replies.unique_of(answer), errno.EIO))
        return True

    def _answer(self, message: memoryview) -> Reply | None:
        try:
            request = parse(message, self.agreed)
        except Malformed as wrong:
            return replies.error(wrong.unique, errno.EINVAL) if wrong.unique else None
        try:
            answer = self._handle(request) if request.opcode != _INIT else self._begin(request)
        except OSError as wrong:
            answer = replies.error(request.unique, wrong.errno or errno.EIO)
        except Exception as wrong:  # noqa: BLE001 one request fails, the file system stays
            self._failed(request, wrong)
            answer = replies.error(request.unique, errno.EIO)
        return None if request.opcode in SILENT else answer

    def _begin(self, request: Request) -> Reply:
        assert isinstance(request.body, Init)
        wanted = self._wanted | InitFlag.MAX_PAGES | InitFlag.ABORT_ERROR
        agreement, body = replies.negotiate(
            request.body,
            wanted,
            max_read=self._max_read,
            max_write=self._max_write,
            max_background=_BACKGROUND,
        )
        if not body:
            self._failed(request, Unsupported("the kernel's FUSE is older than Linux 5.4"))
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
        self.agreement, self.agreed = agreement, int(agreement.flags) if agreement else 0
        return replies.reply(request.unique, body)

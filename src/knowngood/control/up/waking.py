"""What the loop sleeps on: the next moment, a pipe by which signals and the socket wake it, and followers' files."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType

from knowngood.control.schedule import Now
from knowngood.core.instants import now_ns


def clock() -> Now:
    """The moment now. CLOCK_BOOTTIME is set by nobody, and goes on while the machine sleeps (clock_gettime(2))."""
    return Now(time.clock_gettime(time.CLOCK_BOOTTIME), now_ns())


class Waker:
    """A sleep that can be ended from another thread, or from a signal."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._read)
        os.close(self._write)

    def wake(self) -> None:
        """End the sleep, or the next one when nobody sleeps."""
        with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
            os.write(self._write, b"!")

    def sleep(self, seconds: float, others: Iterable[int] = ()) -> bool:
        """Until woken, until one of the other files can be read, or until the time is over. Whether it was woken."""
        woken = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._read, selectors.EVENT_READ)
            for each in others:
                selector.register(each, selectors.EVENT_READ)
            selector.select(max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                woken = True
        return woken

    @contextlib.contextmanager
    def signals(self, handlers: Mapping[int, Callable[[], None]]) -> Iterator[None]:
        """While the block runs, these signals call these functions in the main thread, and end its sleep."""

        def handle(number: int, _: FrameType | None) -> None:
            handlers[number]()

        before = {number: signal.signal(number, handle) for number in handlers}
        descriptor = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, former in before.items():
                signal.signal(number, former)

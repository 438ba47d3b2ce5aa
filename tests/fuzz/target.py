"""What is fed with strange input: one parser each, what is valid for it, and what it may raise."""

from __future__ import annotations

import hashlib
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from knowngood.core.errors import KnowngoodError
from knowngood.core.sizes import MIB

FOUND = Path(__file__).with_name("found")
_SECONDS = 10.0


@dataclass(frozen=True)
class Target:
    """`parse` takes bytes and does all that is done with them. `mend` makes checksums right again, as somebody would
    who wants to be believed. Memory: what may be allocated for one input, in bytes."""

    name: str
    samples: Sequence[bytes]
    parse: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...] = (KnowngoodError,)
    mend: Callable[[bytes], bytes] | None = None
    memory: int = 8 * MIB

    def __str__(self) -> str:
        return self.name

    def feed(self, data: bytes) -> bool:
        """Parse; whether it was taken. Raises AssertionError, and keeps the input, when it does what it should not."""
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        taken = False
        try:
            with _in_time():
                self.parse(data)
            taken = True
        except self.allowed:
            pass
        except Exception as wrong:
            raise AssertionError(f"{self.name}: {wrong!r}, kept as {self._keep(data)}") from wrong
        used = tracemalloc.get_traced_memory()[1] - before
        if used > self.memory + 16 * len(data):
            raise AssertionError(f"{self.name}: {used} bytes of memory for {len(data)}, kept as {self._keep(data)}")
        return taken

    def found(self) -> list[bytes]:
        """Inputs that were once too strange."""
        return [path.read_bytes() for path in sorted((FOUND / self.name).glob("*.bin"))]

    def _keep(self, data: bytes) -> Path:
        """For good: once found, it is fed again by every run."""
        path = FOUND / self.name / f"{hashlib.blake2s(data, digest_size=6).hexdigest()}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


@contextmanager
def traced() -> Iterator[None]:
    """Memory is measured while this lasts."""
    tracemalloc.start(1)
    try:
        yield
    finally:
        tracemalloc.stop()


@contextmanager
def _in_time() -> Iterator[None]:
    """Time of the processor, so that a machine that is busy does not look like one that hangs."""

    def late(_: int, __: FrameType | None) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def until(seconds: float, fewest: int) -> Iterator[int]:
    """0, 1, 2 …: so many at least, and for so long."""
    end, number = time.monotonic() + seconds, 0
    while number < fewest or time.monotonic() < end:
        yield number
        number += 1

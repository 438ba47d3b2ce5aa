"""Progress of a running verb, read from its counters by a thread: one line on a terminal, or events as JSON."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knowngood.core.instants import iso_text, now_ns
from knowngood.core.progress import Progress
from knowngood.core.sizes import bytes_text, span_text
from knowngood.doors.cli.output import Output, is_terminal
from knowngood.doors.cli.words import clean, count_text

_WINDOW = 10.0  # seconds over which the rate is measured
_LINE_EVERY = 0.2
_EVENT_EVERY = 1.0


class Meter:
    """The rate of a verb and the time that is left, from its counters at several moments."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, at: float, count: int) -> None:
        """Note the bytes so far, at a moment in seconds of any clock that only goes forward."""
        self._seen.append((at, count))
        while len(self._seen) > 2 and at - self._seen[0][0] > _WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Bytes per second; 0 while unknown."""
        if len(self._seen) < 2:
            return 0.0
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def left(self, progress: Progress) -> float | None:
        """Seconds that are left; None while that cannot be said."""
        missing = progress.total_bytes - progress.bytes
        if missing <= 0 or self.rate <= 0:
            return None
        return missing / self.rate


def line_of(progress: Progress, meter: Meter, width: int) -> str:
    """`reading uploads · 1.2 GiB of 4.0 GiB · 30 % · 812 files · 85.1 MiB/s · 34 s left · path`, cut to the width."""
    parts = [progress.phase or "starting"]
    if progress.total_bytes:
        share = min(100, 100 * progress.bytes // progress.total_bytes)
        parts += [f"{bytes_text(progress.bytes)} of {bytes_text(progress.total_bytes)}", f"{share} %"]
    elif progress.bytes:
        parts.append(bytes_text(progress.bytes))
    if progress.files:
        parts.append(count_text(progress.files, "file"))
    if rate := meter.rate:
        parts.append(f"{bytes_text(rate)}/s")
    left = meter.left(progress)
    if left is not None:
        parts.append(f"{span_text(max(1, round(left)) if left < 10 else left)} left")
    if progress.current:
        parts.append(progress.current)
    line = clean(" · ".join(parts))
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def event_of(kind: str, progress: Progress, meter: Meter) -> dict[str, object]:
    """An event of --events (docs/json.md)."""
    left = meter.left(progress)
    return {
        "event": kind,
        "at": iso_text(now_ns()),
        "phase": progress.phase,
        "files": progress.files,
        "total_files": progress.total_files,
        "bytes": progress.bytes,
        "total_bytes": progress.total_bytes,
        "landed_bytes": progress.landed_bytes,
        "bytes_per_second": round(meter.rate),
        "seconds_left": None if left is None else round(left),
        "current": progress.current,
    }


class TerminalLine:
    """One line that is drawn over itself."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._drawn = False

    def draw(self, progress: Progress, meter: Meter) -> None:
        """Show the state now."""
        line = line_of(progress, meter, shutil.get_terminal_size().columns - 1)
        self._put(f"\r{line}\x1b[K", drawn=True)

    def clear(self) -> None:
        """Take the line away, before something else is written."""
        if self._drawn:
            self._put("\r\x1b[K", drawn=False)

    def _put(self, text: str, *, drawn: bool) -> None:
        with self._out.lock:
            try:
                self._out.stderr.write(text)
                self._out.stderr.flush()
            except (OSError, ValueError):
                return  # the terminal is gone; the verb goes on
            self._drawn = drawn


class Events:
    """Phases as they begin, and the counters once a second while they change."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._phases = 0
        self._last: tuple[int, int] = (0, 0)

    def look(self, progress: Progress, meter: Meter) -> None:
        """Say what is new."""
        while self._phases < len(progress.phases):
            event = event_of("phase", progress, meter)
            self._out.event({**event, "phase": progress.phases[self._phases]})
            self._phases += 1
        if (progress.files, progress.bytes) != self._last:
            self._last = (progress.files, progress.bytes)
            self._out.event(event_of("progress", progress, meter))


@contextmanager
def watch(progress: Progress, out: Output, *, events: bool) -> Iterator[None]:
    """Show progress while the block runs. Silent where nobody looks: --quiet, --json, or no terminal."""
    meter = Meter()
    if events:
        teller = Events(out)
        with _looking(lambda: teller.look(progress, meter), progress, meter, _EVENT_EVERY):
            yield
        teller.look(progress, meter)
        out.event(event_of("end", progress, meter))
    elif out.quiet or out.as_json or not is_terminal(out.stderr):
        yield
    else:
        line = TerminalLine(out)
        out.before_writing = line.clear
        try:
            with _looking(lambda: line.draw(progress, meter), progress, meter, _LINE_EVERY):
                yield
        finally:
            out.before_writing = None
            line.clear()


@contextmanager
def _looking(show: Callable[[], None], progress: Progress, meter: Meter, every: float) -> Iterator[None]:
    over = threading.Event()

    def run() -> None:
        while not over.wait(every):
            meter.look(time.monotonic(), progress.bytes)
            show()

    meter.look(time.monotonic(), progress.bytes)
    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

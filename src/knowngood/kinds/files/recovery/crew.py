"""Threads that do jobs in the order in which they come. The first failure ends all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class Crew:
    """A few workers, and a bounded number of jobs ahead of them. Jobs are given by one thread."""

    def __init__(self, workers: int, ahead: int) -> None:
        self._ahead = ahead
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._open = 0
        self.failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, name=f"recover-{n}") for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; waits while too many are ahead. Raises the first failure of an earlier one."""
        with self._changed:
            while self._open >= self._ahead and self.failure is None:
                self._changed.wait()
            self._raise()
            self._open += 1
        self._jobs.put(job)

    def drain(self) -> None:
        """Return when all jobs are done. Raises the first failure."""
        with self._changed:
            while self._open:
                self._changed.wait()
            self._raise()

    def close(self) -> None:
        """Skip the jobs that have not begun, wait for those that have, end the threads."""
        if self.failure is None:
            self.failure = RuntimeError("the crew is closed")
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _raise(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if self.failure is None:
                    job()
            except BaseException as wrong:  # noqa: BLE001 - whatever it is, the giver of the jobs has to know
                self.failure = self.failure or wrong
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

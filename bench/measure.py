"""Run one command and measure it: wall time, CPU time and memory of its whole tree.

The command is started by a small process of its own (this file run as a script), so
that the benchmark's own memory does not show in the figures: Linux hands the peak of
the starting process down to the started one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_SECONDS = 0.1
_TAIL = 600


@dataclass
class Usage:
    """What commands took.

    ``rss`` is the exact peak of the largest process of the tree; ``rss_tree`` the
    largest sum over the tree seen in samples of 100 ms (pages shared by several
    processes count several times).
    """

    wall: float = 0.0
    user: float = 0.0
    system: float = 0.0
    rss: int = 0
    rss_tree: int = 0
    code: int = 0
    error: str = ""

    def plus(self, other: Usage) -> Usage:
        """Both, one after the other."""
        return Usage(
            self.wall + other.wall,
            self.user + other.user,
            self.system + other.system,
            max(self.rss, other.rss),
            max(self.rss_tree, other.rss_tree),
            self.code or other.code,
            self.error or other.error,
        )


def _tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for one in found:
        try:
            tasks = os.listdir(f"/proc/{one}/task")
            for task in tasks:
                with open(f"/proc/{one}/task/{task}/children", encoding="ascii") as file:
                    found.extend(map(int, file.read().split()))
        except OSError:
            continue
    return found


def _resident(pid: int) -> int:
    """The resident bytes of one process; 0 once it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _watch(pid: int, ended: threading.Event, usage: Usage) -> None:
    """Sample the memory of the tree until the command has ended."""
    while not ended.wait(_SAMPLE_SECONDS):
        usage.rss_tree = max(usage.rss_tree, sum(map(_resident, _tree(pid))))


def run_here(argv: list[str], note: Path) -> None:
    """Run the command as a child of this process and write its usage to ``note``."""
    usage, ended = Usage(), threading.Event()
    start = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, os.environ)
    watcher = threading.Thread(target=_watch, args=(pid, ended, usage))
    watcher.start()
    _, status, spent = os.wait4(pid, 0)
    usage.wall = time.perf_counter() - start
    ended.set()
    watcher.join()
    usage.user, usage.system, usage.rss = spent.ru_utime, spent.ru_stime, spent.ru_maxrss * 1024
    usage.rss_tree = max(usage.rss_tree, usage.rss)
    usage.code = os.waitstatus_to_exitcode(status)
    note.write_text(json.dumps(asdict(usage)))


def measured(argv: list[str], env: dict[str, str], cwd: Path) -> Usage:
    """Run the command through the small process; its output is kept only when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        note, output = Path(folder, "usage.json"), Path(folder, "output")
        with output.open("wb") as file:
            starter = [sys.executable, "-I", "-S", __file__, str(note), *argv]
            subprocess.run(starter, env=env, cwd=cwd, stdout=file, stderr=file, check=False)
        if not note.exists():
            return Usage(code=127, error=output.read_text(errors="replace")[-_TAIL:])
        usage = Usage(**json.loads(note.read_text()))
        if usage.code:
            usage.error = output.read_text(errors="replace")[-_TAIL:].strip()
        return usage


if __name__ == "__main__":
    run_here(sys.argv[2:], Path(sys.argv[1]))

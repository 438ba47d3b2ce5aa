"""Runs tests in a process of its own: as another user, or killed at any step. Prints what went wrong; nothing is good.

python -m tests.unit.kinds_files_recovery.child nobody|kill-in-place|kill-new|kill-new-with-helpers FOLDER
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from knowngood.kinds.files.recovery import big, flush, helpers, rounds, stage
from knowngood.kinds.files.recovery.shared import MARKER
from knowngood.testing.forking import fork
from knowngood.testing.trees import Picture, differences, picture
from tests.unit.kinds_files_recovery.recovering import Kept, age, capture, make_plain_zoo, text

NOBODY = 65534
_STEPS = (
    "open", "mkdir", "pwrite", "rename", "link", "symlink", "mknod", "unlink", "rmdir", "utime", "chmod", "close",
    "ftruncate",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- as nobody


def nobody(folder: Path) -> Iterator[str]:
    """What a user who is not root gets back: everything but what only root can set, which is told once."""
    source = folder / "source"
    make_plain_zoo(source)
    os.mknod(source / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (source / "read-only").mkdir()
    (source / "read-only" / "file").write_bytes(b"content")
    os.setxattr(source / "read-only" / "file", "user.x", b"1")
    (source / "read-only" / "file").chmod(0o444)
    (source / "read-only").chmod(0o555)
    for path in source.rglob("*"):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.chown(source, NOBODY, NOBODY)
    (source / "inline").chmod(0o4755)
    for number, name in enumerate(("small", "several chunks", "folder/file")):
        os.chown(source / name, 1000 + number, 1000)
        (source / name).chmod(0o4755)
    age(source)
    kept, expected = capture(source), picture(source)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    yield from _as_nobody(kept, expected, folder / "nobody's")


def _as_nobody(kept: Kept, expected: Picture, home: Path) -> Iterator[str]:
    target = home / "place"
    for number in range(3):
        done = kept.recover(target)
        reasons = {problem.path: problem.reason for problem in done.problems}
        owner = {path for path, why in reasons.items() if "owner or group" in why}
        if done.problem_count != 2 or len(owner) != 1 or b"device" not in reasons:
            yield f"problems: {done.problems}"
        seen = picture(target)
        for line in differences(expected, seen):
            path = line.split(":")[0]
            if path not in ("b'device'", "b'small'", "b'several chunks'", "b'folder/file'"):
                yield f"round {number}: {line}"
        if any(each.mode & stat.S_ISUID for path, each in seen.items() if path in (b"small", b"folder/file")):
            yield "a program runs as somebody else"
        if number == 0:
            _damage_as_nobody(target)


def _damage_as_nobody(target: Path) -> None:
    (target / "read-only").chmod(0o755)
    (target / "read-only" / "file").chmod(0o644)
    os.setxattr(target / "read-only" / "file", "user.x", b"2")
    (target / "read-only" / "file").chmod(0o400)
    (target / "read-only").chmod(0o111)
    (target / "read-only").chmod(0o555)
    (target / "linked").unlink()
    (target / "large").write_bytes(b"damaged")
    (target / "folder" / "below").chmod(0o500)


# ------------------------------------------------------------------------------------------------------- killed


def _source(folder: Path) -> Path:
    source = folder / "source"
    (source / "folder" / "below").mkdir(parents=True)
    for number, size in enumerate((0, 10, 3000, 50_000, 400_000)):
        (source / f"file-{number}").write_bytes(text(number, size))
        (source / "folder" / f"file-{number}").write_bytes(text(10 + number, size // 2))
    os.link(source / "file-2", source / "folder" / "below" / "linked")
    os.symlink("file-1", source / "symlink")
    os.mkfifo(source / "pipe")
    age(source)
    return source


def _damage(target: Path) -> None:
    for name in ("file-1", "file-2", "file-4", "folder/file-3", "symlink"):
        (target / name).unlink()
    for name in ("file-1", "file-2", "folder/file-2"):
        (target / name).write_bytes(b"old")
    (target / "file-4").write_bytes(text(4, 400_000)[:-1] + b"x")
    (target / "symlink").symlink_to("elsewhere")
    (target / "extra").mkdir()
    (target / "extra" / "file").touch()


def _killing(step: int) -> None:
    """Die at the step of this number, in whichever thread it is."""
    numbers = itertools.count()

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if next(numbers) == step:
                os._exit(9)
            return real(*args, **more)

        return call

    for name in _STEPS:
        setattr(os, name, counted(getattr(os, name)))


def _killed_at(step: int, work: Callable[[], object]) -> bool:
    """Whether a child was killed at this step; False when it came to its end before."""
    pid = fork()
    if not pid:
        _killing(step)
        work()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 9


def kill_in_place(folder: Path) -> Iterator[str]:
    """Killed at any step, every name holds what it held or what it should hold; the next run finishes the rest."""
    source = _source(folder)
    kept, expected = capture(source), picture(source)
    damaged, target = folder / "damaged", folder / "target"
    kept.recover(damaged)
    _damage(damaged)
    old = picture(damaged)
    for step in _steps():
        shutil.copytree(damaged, target, symlinks=True, copy_function=_copy, ignore=lambda *_: ["pipe"])
        plan = kept.plan(target, delete_extra=True)
        alive = not _killed_at(step, lambda plan=plan: kept.carry_out(plan))
        yield from (f"step {step}: {line}" for line in _neither(picture(target), old, expected))
        kept.recover(target, delete_extra=True)
        yield from (f"after step {step}: {line}" for line in differences(expected, picture(target)))
        shutil.rmtree(target)
        if alive:
            return


def _copy(one: str, other: str) -> None:
    shutil.copy2(one, other, follow_symlinks=False)


def _neither(now: Picture, old: Picture, new: Picture) -> Iterator[str]:
    for path, seen in now.items():
        if seen.kind == "folder" or path.rpartition(b"/")[2].startswith(b".knowngood-"):
            continue
        contents = {each[path].content for each in (old, new) if path in each}
        if seen.content not in contents:
            yield f"{path!r} holds neither old nor new content"
    lost = [path for path in old.keys() - now.keys() if path in new and path != b"pipe"]
    if lost:
        yield f"lost: {lost}"


def kill_new(folder: Path) -> Iterator[str]:
    """Killed at any step, a new folder is marked or whole; the next run finishes it."""
    source = _source(folder)
    kept, expected = capture(source), picture(source)
    target = folder / "target"
    for step in _steps():
        plan = kept.plan(target)
        alive = not _killed_at(step, lambda plan=plan: kept.carry_out(plan))
        there = set(os.listdir(target)) if target.exists() else set()
        is_whole = not there or not differences(_without_root(expected), _without_root(picture(target)))
        if os.fsdecode(MARKER) not in there and not is_whole:
            yield f"step {step}: neither marked nor whole"
        _wait_for_helpers(target)
        kept.recover(target)
        yield from (f"after step {step}: {line}" for line in differences(expected, picture(target)))
        shutil.rmtree(target)
        if alive:
            return


def kill_new_with_helpers(folder: Path) -> Iterator[str]:
    """The same where other processes write: when they have noticed that nobody asks them any more."""
    helpers.FROM_FILES = 0
    yield from kill_new(folder)


def _wait_for_helpers(target: Path) -> None:
    """Until nobody holds the lock of a target."""
    if target.exists():
        fd = os.open(target, os.O_RDONLY)
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.close(fd)


def _without_root(seen: Picture) -> Picture:
    return {path: each for path, each in seen.items() if path != b"."}


def _steps() -> Iterator[int]:
    """Every step at first, then ever fewer: the later ones repeat."""
    step = 0
    while True:
        yield step
        step += 1 if step < 50 else 5


def main() -> None:
    """Run what is asked for."""
    os.fsync = lambda _: None  # a killed process loses nothing that it wrote; only a power cut would
    big.FROM, big._PART, big.DIRECT_FROM = 100_000, 64_000, 120_000  # small files go the way of large ones
    rounds.sync_file_system = flush.sync_file_system = stage.sync_file_system = lambda _: None
    checks = {"nobody": nobody, "kill-in-place": kill_in_place, "kill-new": kill_new}
    checks["kill-new-with-helpers"] = kill_new_with_helpers
    for line in checks[sys.argv[1]](Path(sys.argv[2])):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()

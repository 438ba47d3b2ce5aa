"""Does a restored tree equal the source? Names, kinds, lengths; bytes and times of a sample."""

from __future__ import annotations

import hashlib
import os
import random
import stat
from pathlib import Path

_SAMPLE = 2000
_SHOWN = 3
_MIB = 1 << 20


def find_root(restored: Path, source: Path) -> Path:
    """Where under ``restored`` the source's tree begins: tools keep different parts of its path."""
    wanted = set(os.listdir(source))
    for place in (restored, restored / source.name, Path(f"{restored}{source}")):
        if place.is_dir() and set(os.listdir(place)) == wanted:
            return place
    return restored


def _listing(root: Path) -> dict[str, tuple[int, int]]:
    """All entries below a folder: relative path to (kind, length of a file)."""
    found: dict[str, tuple[int, int]] = {}
    top = len(str(root)) + 1
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = f"{folder}/{name}"
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            found[path[top:]] = (kind, info.st_size if stat.S_ISREG(kind) else 0)
    return found


def _print_of(path: Path) -> tuple[object, ...]:
    """What must be the same of one sampled entry: bytes or link target, mode, whole second of change."""
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return (os.readlink(path),)
    if not stat.S_ISREG(info.st_mode):
        return (info.st_mode,)
    hashed = hashlib.blake2b()
    with path.open("rb") as file:
        while part := file.read(_MIB):
            hashed.update(part)
    return (hashed.digest(), info.st_mode, info.st_mtime_ns // 10**9)


def differences(source: Path, restored: Path) -> list[str]:
    """What differs, at most a few lines of each sort; empty when the trees are the same."""
    root = find_root(restored, source)
    one, two = _listing(source), _listing(root)
    missing = sorted(one.keys() - two.keys())
    extra = sorted(two.keys() - one.keys())
    other = [path for path in one if path in two and one[path] != two[path]]
    common = sorted(one.keys() & two.keys())
    sample = random.Random("sample").sample(common, min(_SAMPLE, len(common)))
    bad = [path for path in sample if _print_of(source / path) != _print_of(root / path)]
    report: list[str] = []
    for word, paths in (("missing", missing), ("extra", extra), ("kind or length", other), ("sample", bad)):
        if paths:
            report.append(f"{word}: {len(paths)} ({', '.join(paths[:_SHOWN])})")
    return report

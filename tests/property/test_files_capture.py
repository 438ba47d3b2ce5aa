"""Whatever happens to a tree, and however often a capture is cut short: it ends as if nothing had been known before."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import tempfile
from pathlib import Path

from hypothesis import given, strategies as st

from knowngood.core.errors import UsageError
from knowngood.core.instants import now_ns
from knowngood.kinds.files.exclude import Exclusions
from knowngood.kinds.files.limits import Limits
from knowngood.seal.chunker import ChunkSizes
from tests.unit.kinds_files.capturing import Site, TooLate

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
NAMES = (b"a", b"!", b".b", b"\xff", b"c\n")
WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW  # pipes and symlinks stay what they are
SIZES = (0, 1, 128, 129, 3000, 600_000)

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
changes = st.one_of(
    st.tuples(st.just("write"), paths, st.sampled_from(SIZES), st.integers(0, 3)),
    st.tuples(st.just("sparse"), paths, st.integers(0, 3)),
    st.tuples(st.just("remove"), paths),
    st.tuples(st.just("folder"), paths),
    st.tuples(st.just("symlink"), paths),
    st.tuples(st.just("pipe"), paths),
    st.tuples(st.just("link"), paths, paths),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("mode"), paths, st.integers(0, 0o777)),
)
captures = st.one_of(
    st.tuples(st.just("capture"), st.booleans(), st.booleans()),
    st.tuples(st.just("interrupt"), st.integers(0, 30)),
    st.tuples(st.just("forget"), st.integers(0, 5)),
)


def change(tree: bytes, step: tuple) -> None:
    """Do one change; one that cannot be done does nothing."""
    path = tree + b"/" + step[1]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    match step[0]:
        case "write":
            with open(os.open(path, WRITE, 0o644), "wb") as file:
                file.write(random.Random(step[3]).randbytes(step[2]))
        case "sparse":
            with open(os.open(path, WRITE, 0o644), "wb") as file:
                file.truncate(1 << 20)
                file.seek(step[2] * 100_000)
                file.write(b"data")
        case "remove" if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        case "remove":
            os.unlink(path)
        case "folder":
            os.mkdir(path)
        case "symlink":
            os.symlink(b"none/none", path)
        case "pipe":
            os.mkfifo(path)
        case "link":
            os.link(path, tree + b"/" + step[2])
        case "rename":
            os.rename(path, tree + b"/" + step[2])
        case "mode":
            os.chmod(path, step[2] | 0o700)


def check(site: Site, *, trust: bool, remember: bool) -> None:
    """A capture equals one that starts from nothing, and holds what is there."""
    shot = site.capture(trust=trust, remember=remember)
    assert shot.captured.problem_count == 0
    assert shot.captured.root == site.fresh().captured.root
    top = os.fsencode(site.tree)
    for path, entry in shot.entries.items():
        if entry.is_file:
            assert shot.content(path) == Path(os.fsdecode(top + b"/" + path)).read_bytes()
    count = sum(len(folders) + len(files) for _, folders, files in os.walk(top))
    assert len(shot.entries) == count + 1


def play(site: Site, steps: list[tuple]) -> None:
    """Do all steps, and capture once more."""
    for step in steps:
        match step:
            case ("capture", trust, remember):
                check(site, trust=trust, remember=remember)
            case ("interrupt", after):
                with contextlib.suppress(TooLate):
                    site.interrupt(after_chunks=after)
            case ("forget", number):
                for name in list(site.vault.chunks)[number::7] + list(site.vault.pages)[number::7]:
                    site.vault.forget(name)
                site.distrust()
            case _:
                with contextlib.suppress(OSError, shutil.Error):
                    change(os.fsencode(site.tree), step)
    check(site, trust=True, remember=True)


@given(st.lists(st.one_of(changes, changes, captures), min_size=3, max_size=40))
def test_any_history_ends_as_if_nothing_was_known(steps: list[tuple]) -> None:
    """With all limits so low that every spill, merge and note takes place, and with the clock as it is."""
    limits = Limits(spill_names=3, open_directories=2, record_bytes=2000, link_bytes=2000)
    with tempfile.TemporaryDirectory(dir=MEMORY) as base:
        play(Site(Path(base), limits=limits, sizes=ChunkSizes(2048, 2048, 8192), clock=now_ns), steps)


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), max_size=4), st.binary(min_size=1))
def test_any_pattern_is_refused_or_works(patterns: list[str], name: bytes) -> None:
    """No pattern and no name make the matcher fail in another way than by telling the user."""
    try:
        rules = Exclusions(patterns)
    except (UsageError, UnicodeEncodeError):
        return
    assert rules.match(b"a/b/", name, is_directory=True) in (True, False)

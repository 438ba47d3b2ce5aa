"""What a watcher does when a feed cannot be had, ends or overflows: it says so, and goes on as well as it can."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.errors import UsageError
from knowngood.core.model import ComponentSpec
from knowngood.kinds.files.watch import FANOTIFY, INOTIFY, SCAN, Dirty, watch
from knowngood.linux import fanotify, inotify
from knowngood.linux.calls import read_waiting
from knowngood.wire import fanotify as wire
from tests.loops import Mounts
from tests.unit.kinds_files_watch.conftest import Watching
from tests.unit.kinds_files_watch.watching import Site


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True)


def _limit(feed: str) -> int:
    """How many events a queue holds; skips the test where these are too many to be made."""
    limit = int(Path(f"/proc/sys/fs/{feed}/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip(f"fs.{feed}.max_queued_events is {limit}")
    return limit


# ------------------------------------------------------------------------------------------------------- too much


def test_a_full_queue_of_the_kernel_is_lost(site: Site, watching: Watching) -> None:
    """And what happens afterwards is seen, in folders too that came meanwhile."""
    watcher = watching(site, feeds=(INOTIFY,))
    limit = _limit("inotify")
    with (site.root / "a").open("wb", buffering=0) as one, (site.root / "b").open("wb", buffering=0) as other:
        for _ in range(limit // 2 + 10):  # equal events in a row would be merged
            one.write(b"1")
            other.write(b"2")
    (site.root / "new").mkdir()
    dirty = watcher.drain()
    assert dirty.lost
    assert "max_queued_events" in dirty.reason
    assert not dirty.entries
    (site.root / "new" / "file").touch()
    assert site.ours(watcher.drain()) == Dirty(entries={(b"", b"new"), (b"new", b"file")})


@pytest.mark.root
def test_a_full_queue_of_fanotify_is_told(site: Site) -> None:
    """Where the queue has a limit, an event says that it overflowed."""
    group = fanotify.open_group(unlimited=False)
    try:
        fd = os.open(site.root, os.O_RDONLY)
        fanotify.mark(group, fd)
        os.close(fd)
        limit = _limit("fanotify")
        for _ in range(limit // 2 + 10):  # three events each, of different files
            (site.root / "file").touch()
            (site.root / "file").unlink()
        masks: list[int] = []
        assert fanotify.queued(group) > limit
        while data := read_waiting(group, fanotify.READ_BYTES):
            masks += [event.mask for event in wire.parse(data)]
        assert len(masks) > limit
        assert [mask for mask in masks if mask & wire.OVERFLOW] == [wire.OVERFLOW]
    finally:
        os.close(group)


@pytest.mark.root
def test_overflow_is_lost(site: Site, watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed goes on."""
    watcher = watching(site, feeds=(FANOTIFY,))
    (site.root / "before").touch()
    read = iter([wire._HEAD.pack(24, 3, 0, 24, wire.OVERFLOW, -1, 0)])
    with monkeypatch.context() as patch:
        patch.setattr("knowngood.kinds.files.watch.fanotify_feed.read_waiting", lambda fd, size: next(read, b""))
        assert watcher.drain() == Dirty(lost=True, reason="the kernel's queue of events overflowed")
    (site.root / "after").touch()
    assert (b"", b"after") in watcher.drain().entries


@pytest.mark.root
def test_a_long_queue_is_given_up(site: Site, watching: Watching) -> None:
    """Rather than read, and its memory is freed; what happens afterwards is seen."""
    watcher = watching(site, feeds=(FANOTIFY,), queue_limit=100)
    for number in range(101):
        (site.root / f"{number}").touch()
    dirty = watcher.drain()
    assert dirty.lost
    assert "events were waiting" in dirty.reason
    (site.root / "after").touch()
    assert watcher.drain().entries == {(b"", b"after"), (b"", b".")}


def test_a_long_answer_is_given_up(site: Site, watching: Watching, feed: str) -> None:
    """A scan is as good."""
    watcher = watching(site, feeds=(feed,), answer_limit=10)
    for number in range(11):
        (site.root / f"{number}").touch()
    assert watcher.drain().lost
    assert not site.ours(watcher.drain())


# ------------------------------------------------------------------------------------------------------ the root


def test_a_root_that_is_gone_is_lost_until_it_is_back(site: Site, watching: Watching, feed: str) -> None:
    """As is one that was replaced."""
    watcher = watching(site, feeds=(feed,))
    site.root.rename(site.base / "away")
    assert watcher.drain().lost
    assert watcher.drain().lost
    assert watcher.traits.feed == SCAN
    assert not watcher.barrier()
    (site.base / "away").rename(site.root)
    assert watcher.drain().lost
    (site.root / "file").touch()
    assert watcher.drain().entries == {(b"", b"file"), (b"", b".")}
    assert watcher.traits.feed == feed
    site.root.rename(site.base / "old")
    site.root.mkdir()
    assert watcher.drain().lost
    (site.root / "other").touch()
    assert watcher.drain().entries == {(b"", b"other"), (b"", b".")}


def test_a_single_file_is_not_watched(tmp_path: Path, watching: Watching) -> None:
    """A scan of it costs nothing."""
    site = Site(tmp_path)
    site.root.rmdir()
    site.root.write_bytes(b"content")
    watcher = watching(site)
    assert (watcher.traits.feed, watcher.fileno()) == (SCAN, -1)
    assert watcher.drain() == Dirty(lost=True, reason="it is a single file")
    assert not watcher.barrier()


def test_a_bad_pattern_is_refused(site: Site) -> None:
    """When the watcher is made."""
    site.spec = {"exclude": ("[z-a]",)}
    with pytest.raises(UsageError):
        site.watch()


def test_a_cookie_that_is_not_seen_is_lost(site: Site, watching: Watching, feed: str) -> None:
    """The feed begins anew, and may see again."""
    watcher = watching(site, feeds=(feed,))
    watcher._feed.collect = lambda dirty: None  # deaf
    assert not watcher.barrier(0.01)
    assert watcher.drain() == Dirty(lost=True, reason="a cookie was not seen in time")
    assert watcher.barrier()
    assert list(site.cookies.iterdir()) == []


# ------------------------------------------------------------------------------------------- other file systems


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_mounts_below_the_root_are_watched(
    kind: str, site: Site, watching: Watching, feed: str, mounts: Mounts
) -> None:
    """One that comes or goes is lost, for all below has changed; in between all is seen, and it can be unmounted."""
    source = mounts.fresh_dir(kind)
    (site.root / "mnt").mkdir()
    watcher = watching(site, feeds=(feed,))
    _run("mount", "--bind", source, site.root / "mnt")
    try:
        dirty = watcher.drain()
        assert dirty.lost
        assert "mounted" in dirty.reason
        (site.root / "mnt" / "file").write_bytes(b"content")
        assert site.ours(watcher.drain()) == Dirty(entries={(b"", b"mnt"), (b"mnt", b"file")})
        (source / "dir").mkdir()
        (source / "dir" / "file").touch()
        assert watcher.drain().subtrees == {b"mnt\0dir"}
        (source / "dir" / "file").write_bytes(b"other")
        assert site.ours(watcher.drain()) == Dirty(entries={(b"mnt\0dir", b"file")})
    finally:
        _run("umount", site.root / "mnt")
    assert watcher.drain().lost
    assert not site.ours(watcher.drain())


@pytest.mark.root
def test_a_bind_mount_shows_a_folder_twice(site: Site, watching: Watching) -> None:
    """A change is told of both places; inotify tells of one, and declares that it does not see the other."""
    (site.root / "one").mkdir()
    (site.root / "two").mkdir()
    _run("mount", "--bind", site.root / "one", site.root / "two")
    try:
        watcher = watching(site, feeds=(FANOTIFY,))
        (site.root / "one" / "file").touch()
        assert watcher.drain().entries == {(b"", b"one"), (b"", b"two"), (b"one", b"file"), (b"two", b"file")}
        watcher = watching(site, feeds=(INOTIFY,))
        assert watcher.traits.unwatched == (b"two",)
        (site.root / "two" / "file").write_bytes(b"content")
        assert watcher.drain().entries == {(b"one", b"file")}
    finally:
        _run("umount", site.root / "two")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_cookies_may_lie_on_another_file_system(kind: str, mounts: Mounts, tmp_path: Path) -> None:
    """As they do when the home is not where the data is."""
    root = mounts.fresh_dir(kind)
    component = ComponentSpec(name="c", kind="files", path=str(root))
    with closing(watch(component, str(tmp_path))) as watcher:
        assert (watcher.traits.feed, watcher.traits.reason) == (FANOTIFY, "")
        (root / "new").touch()
        assert watcher.barrier()
        assert (b"", b"new") in watcher.drain().entries
        (tmp_path / "elsewhere").touch()
        assert not watcher.drain()


def test_mounts_of_others_are_named(site: Site, watching: Watching, feed: str, is_root: bool) -> None:
    """What the kernel does not see of is declared; not when it is left out anyway."""
    if not is_root:
        pytest.skip("mounting needs root")
    (site.root / "proc").mkdir()
    _run("mount", "-t", "proc", "proc", site.root / "proc")
    try:
        assert watching(site, feeds=(feed,)).traits.unwatched == (b"proc",)
        site.spec = {"exclude": ("proc",)}
        assert watching(site, feeds=(feed,)).traits.unwatched == ()
        site.spec = {"one_file_system": True}
        assert watching(site, feeds=(feed,)).traits.unwatched == ()
    finally:
        _run("umount", site.root / "proc")


@pytest.mark.needs("btrfs")
def test_subvolumes_are_watched(mounts: Mounts, watching: Watching) -> None:
    """Below one, where only the whole can be marked; and of one that alone is mounted. Snapshots are subtrees."""
    top = mounts.fresh_dir("btrfs")
    for name in ("sub", "sub/root", "alone"):
        _run("btrfs", "subvolume", "create", top / name)
    site = Site(top / "sub")
    (site.root / "file").touch()
    watcher = watching(site)
    assert watcher.traits.feed == FANOTIFY, watcher.traits
    (site.root / "file").write_bytes(b"content")
    assert watcher.drain().entries == {(b"", b"file")}
    _run("btrfs", "subvolume", "snapshot", site.root, site.root / "snapshot")
    assert watcher.drain().subtrees == {b"snapshot"}
    (site.root / "snapshot" / "file").write_bytes(b"other")
    assert watcher.drain().entries == {(b"snapshot", b"file")}


@pytest.mark.needs("btrfs", "findmnt")
def test_a_subvolume_mounted_alone_is_watched(mounts: Mounts, tmp_path: Path) -> None:
    """Though its top is not mounted anywhere; it can be unmounted meanwhile, and mounted again."""
    top = mounts.make("btrfs", 256)
    _run("btrfs", "subvolume", "create", top / "alone")
    device = subprocess.run(["findmnt", "-no", "SOURCE", top], check=True, capture_output=True, text=True).stdout
    place = tmp_path / "place"
    place.mkdir()
    _run("mount", "-o", "subvol=alone", device.strip(), place)
    _run("umount", top)
    try:
        site = Site(place)
        with closing(site.watch()) as watcher:
            assert watcher.traits.feed == FANOTIFY, watcher.traits
            (site.root / "file").touch()
            assert watcher.drain().entries == {(b"", b"file"), (b"", b".")}
            assert watcher.barrier()
            _run("umount", place)
            assert watcher.drain().lost
            assert not watcher.barrier()
            _run("mount", "-o", "loop,subvol=alone", top.with_suffix(".img"), place)
            assert watcher.drain().lost
            (site.root / "file").write_bytes(b"content")
            assert watcher.drain().entries == {(b"", b"file")}
    finally:
        _run("umount", place)


@pytest.mark.root
def test_overlays_fall_back(tmp_path: Path) -> None:
    """To inotify, and the reason is said."""
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for each in (lower, upper, work, merged):
        each.mkdir()
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if subprocess.run(["mount", "-t", "overlay", "-o", options, "none", merged], check=False).returncode:
        pytest.skip("no overlays here: the temporary folder may be on one")
    try:
        site = Site(merged)
        with closing(site.watch()) as watcher:
            assert watcher.traits.feed == INOTIFY
            assert watcher.traits.reason.startswith("fanotify: ")
            (site.root / "file").touch()
            assert watcher.drain().entries == {(b"", b"file"), (b"", b".")}
    finally:
        _run("umount", merged)


# -------------------------------------------------------------------------------------------------- not allowed


def _refuse(number: int, after: int = 0) -> object:
    calls = iter(range(after))

    def call(*_: object, **__: object) -> int:
        if next(calls, None) is None:
            raise OSError(number, os.strerror(number))
        return 1000

    return call


@pytest.mark.parametrize(
    ("call", "number", "said"),
    [
        ("open_group", errno.EPERM, "CAP_SYS_ADMIN"),
        ("open_group", errno.EINVAL, "too old"),
        ("mark", errno.EOPNOTSUPP, "no handles"),
        ("open_handle", errno.EPERM, "CAP_DAC_READ_SEARCH"),
    ],
)
@pytest.mark.root
def test_without_fanotify_the_reason_is_said(
    call: str, number: int, said: str, site: Site, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And inotify sees."""
    monkeypatch.setattr(fanotify, call, _refuse(number))
    watcher = watching(site)
    assert watcher.traits.feed == INOTIFY
    assert said in watcher.traits.reason
    (site.root / "file").touch()
    assert watcher.drain().entries == {(b"", b"file"), (b"", b".")}


def test_without_watches_only_a_scan_is_left(site: Site, watching: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the beginning, or when a folder comes that cannot be watched any more."""
    watcher = watching(site, feeds=(INOTIFY,))
    (site.root / "new").mkdir()
    monkeypatch.setattr(inotify, "add_watch", _refuse(errno.ENOSPC))
    for dirty in (watcher.drain(), watcher.drain()):
        assert dirty.lost
        assert "max_user_watches" in dirty.reason
    assert watcher.traits.feed == SCAN
    assert "max_user_watches" in watching(site, feeds=(INOTIFY,)).traits.reason

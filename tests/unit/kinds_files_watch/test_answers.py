"""What an answer holds after single changes, by either feed."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from knowngood.kinds.files.watch import FANOTIFY, INOTIFY, Dirty, mapped_files
from tests.unit.kinds_files_watch.conftest import Watching
from tests.unit.kinds_files_watch.watching import Site

ROOT = (b"", b".")


def test_nothing_is_dirty_when_nothing_happens(site: Site, watching: Watching, feed: str) -> None:
    """Reading is no change; nor are cookies, or what happens outside."""
    (site.root / "file").write_bytes(b"content")
    watcher = watching(site, feeds=(feed,))
    assert (watcher.traits.feed, watcher.traits.reason) == (feed, "")
    assert (site.root / "file").read_bytes() == b"content"
    (site.outside / "file").write_bytes(b"new")
    assert watcher.barrier()
    assert not site.ours(watcher.drain())


def test_changes_are_told_once(site: Site, watching: Watching, feed: str) -> None:
    """A name that comes changes its directory's entry too; a change of content only its own."""
    (site.root / "old").write_bytes(b"content")
    watcher = watching(site, feeds=(feed,))
    (site.root / "new").write_bytes(b"content")
    (site.root / "old").write_bytes(b"other")
    assert site.ours(watcher.drain()) == Dirty(entries={ROOT, (b"", b"new"), (b"", b"old")})
    assert site.ours(watcher.drain()) == Dirty()
    os.truncate(site.root / "old", 1)
    assert site.ours(watcher.drain()) == Dirty(entries={(b"", b"old")})
    (site.root / "old").chmod(0o600)
    site.root.chmod(0o700)
    assert site.ours(watcher.drain()) == Dirty(entries={(b"", b"old"), ROOT})
    (site.root / "old").unlink()
    assert site.ours(watcher.drain()) == Dirty(entries={ROOT, (b"", b"old")})


def test_new_folders_are_subtrees(site: Site, watching: Watching, feed: str) -> None:
    """Also when files are put into them at once; later changes below them are told by name."""
    watcher = watching(site, feeds=(feed,))
    deep = site.root / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"content")
    assert b"a" in watcher.drain().subtrees
    (deep / "file").write_bytes(b"other")
    assert site.ours(watcher.drain()) == Dirty(entries={(b"a\0b\0c", b"file")})


def test_folders_that_move_are_subtrees(site: Site, watching: Watching, feed: str) -> None:
    """Within, in and out; and changes below them are told by their new names, or not at all."""
    (site.root / "a" / "b").mkdir(parents=True)
    (site.outside / "x" / "y").mkdir(parents=True)
    watcher = watching(site, feeds=(feed,))
    (site.root / "a").rename(site.root / "z")
    (site.outside / "x").rename(site.root / "z" / "b" / "x")
    dirty = watcher.drain()
    assert {ROOT, (b"", b"a"), (b"", b"z")} <= dirty.entries
    assert b"z" in dirty.subtrees
    (site.root / "z" / "b" / "x" / "y" / "file").touch()
    assert watcher.drain().entries == {(b"z\0b\0x", b"y"), (b"z\0b\0x\0y", b"file")}
    (site.root / "z" / "b").rename(site.outside / "b")
    assert site.ours(watcher.drain()) == Dirty(entries={(b"", b"z"), (b"z", b"b")})
    (site.outside / "b" / "x" / "y" / "file").write_bytes(b"elsewhere")
    assert not site.ours(watcher.drain())


def test_exclusions_are_left_out(site: Site, watching: Watching, feed: str) -> None:
    """By pattern, and folders of ours; of these only the folder's own entry shows."""
    site.spec = {"exclude": ("*.tmp", "cache/", "/deep/below"), "exclude_caches": True}
    state = site.root / "state"
    for name in ("state/in", "cache/in", "deep/below/in", "deep/other", "tagged/in"):
        (site.root / name).mkdir(parents=True)
    (site.root / "tagged" / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n")
    watcher = watching(site, feeds=(feed,), ours=(str(state),))
    for name in ("a.tmp", "state/file", "state/in/file", "cache/file", "cache/in/file", "deep/below/in/file"):
        (site.root / name).write_bytes(b"content")
    (site.root / "tagged" / "in" / "file").write_bytes(b"content")
    (site.root / "cache").chmod(0o700)
    assert watcher.drain().entries <= {ROOT, (b"", b"state")}
    (site.root / "deep" / "other" / "file").touch()
    assert site.ours(watcher.drain()) == Dirty(entries={(b"deep", b"other"), (b"deep\0other", b"file")})


def test_vaults_are_left_out_while_they_are_vaults(site: Site, watching: Watching, feed: str) -> None:
    """What makes a folder a vault, or a cache, makes it dirty as a whole when it comes or goes."""
    vault = site.root / "vault"
    (vault / "packs").mkdir(parents=True)
    (vault / "vault.json").write_bytes(b'{"format": "knowngood vault"}')
    watcher = watching(site, feeds=(feed,))
    (vault / "packs" / "one").write_bytes(b"content")
    assert not site.ours(watcher.drain())
    (vault / "vault.json").unlink()
    assert watcher.drain().subtrees == {b"vault"}
    (vault / "packs" / "one").write_bytes(b"other")
    assert site.ours(watcher.drain()) == Dirty(entries={(b"vault\0packs", b"one")})


def test_files_with_several_names_are_told_by_number(site: Site, watching: Watching, feed: str) -> None:
    """Whichever of them was used."""
    (site.root / "one").write_bytes(b"content")
    (site.root / "two").hardlink_to(site.root / "one")
    watcher = watching(site, feeds=(feed,))
    (site.root / "one").write_bytes(b"other")
    assert site.ours(watcher.drain()) == Dirty(entries={(b"", b"one")}, inodes={(site.root / "two").stat().st_ino})


@pytest.mark.root
def test_names_outside_are_seen(site: Site, watching: Watching) -> None:
    """A file changes by a name outside, by one that is gone, and by a new one.

    Whatever else makes hard links on this file system meanwhile is told of as well: any of them could be ours.
    """
    inside, outside = site.root / "in", site.outside / "out"
    inside.write_bytes(b"content")
    number = inside.stat().st_ino
    watcher = watching(site, feeds=(FANOTIFY,))
    assert watcher.traits.other_names
    outside.hardlink_to(inside)
    assert number in watcher.drain().inodes
    outside.write_bytes(b"other")
    assert number in watcher.drain().inodes
    with outside.open("ab") as file:
        outside.unlink()
        assert watcher.drain().entries | {(b"", b"in")} == {(b"", b"in")}
        file.write(b"more")
        file.flush()
        dirty = watcher.drain()
    assert (b"", b"in") in dirty.entries or number in dirty.inodes


@pytest.mark.root
def test_changes_of_our_own_can_be_left_out(site: Site, watching: Watching) -> None:
    """But cookies are seen all the same."""
    watcher = watching(site, feeds=(FANOTIFY,), ignore_own=True)
    (site.root / "ours").write_bytes(b"content")
    assert watcher.barrier()
    assert not site.ours(watcher.drain())


def test_folders_of_any_depth_are_watched(site: Site, watching: Watching, feed: str) -> None:
    """Deeper than the kernel can name: then the deepest folder that it can stands for all below."""
    fd = os.open(site.root, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=fd)
        above, fd = fd, os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(above)
    watcher = watching(site, feeds=(feed,))
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    dirty = watcher.drain()
    key = b"\0".join([b"d" * 200] * 25)
    if feed == INOTIFY:
        assert (key, b"file") in dirty.entries
    else:
        (subtree,) = dirty.subtrees
        assert subtree
        assert key.startswith(subtree)


def test_fileno_tells_of_changes(site: Site, watching: Watching, feed: str) -> None:
    """A descriptor to poll, if one wants to."""
    import select

    watcher = watching(site, feeds=(feed,))
    poll = select.poll()
    poll.register(watcher.fileno(), select.POLLIN)
    (site.root / "file").touch()
    assert poll.poll(5000)
    assert (b"", b"file") in watcher.drain().entries


def test_mapped_files_are_found(site: Site, tmp_path: Path) -> None:
    """Those that are shared and writable, below the root, and not deleted; whatever their names are."""
    names = [b"a", b"sp ace\n", b"\\012", b"private", b"readonly", b"gone"]
    (site.root / "dir").mkdir()
    maps: list[mmap.mmap] = []
    for name in names:
        path = os.path.join(os.fsencode(site.root), b"dir", name)
        with open(path, "w+b") as file:
            file.truncate(4096)
            flags = mmap.MAP_PRIVATE if name == b"private" else mmap.MAP_SHARED
            rights = mmap.PROT_READ if name == b"readonly" else mmap.PROT_READ | mmap.PROT_WRITE
            maps.append(mmap.mmap(file.fileno(), 4096, flags=flags, prot=rights))
    (site.root / "dir" / "gone").unlink()
    try:
        assert mapped_files(str(site.root)) == {(b"dir", name) for name in names[:3]}
        assert mapped_files(str(site.root / "dir")) == {(b"", name) for name in names[:3]}
    finally:
        for each in maps:
            each.close()
    assert mapped_files(str(site.root)) == set()


def test_answers_can_be_put_together() -> None:
    """What is lost stays lost, for its first reason."""
    one, other = Dirty({(b"", b"a")}, {b"b"}, {3}), Dirty({(b"", b"c")}, {b"d"}, {4})
    one.merge(other)
    assert one == Dirty({(b"", b"a"), (b"", b"c")}, {b"b", b"d"}, {3, 4})
    assert len(one) == 6
    lost = Dirty()
    lost.lose("first")
    lost.lose("second")
    one.merge(lost)
    assert one == Dirty(lost=True, reason="first")
    one.merge(other)
    assert one == Dirty(lost=True, reason="first")

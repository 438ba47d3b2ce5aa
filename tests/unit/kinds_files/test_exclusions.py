"""What stays out, and why."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.core.errors import UsageError
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.exclude import Exclusions
from knowngood.seal.chunker import ChunkSizes
from knowngood.vault.descriptor import Descriptor
from tests.unit.kinds_files.capturing import Site

DESCRIPTOR = Descriptor(bytes(16), ChunkSizes(), "2026-11-20", {}).encode()
TREE = (
    "a",
    "tmp/x",
    "tmp/keep",
    "src/tmp/y",
    "src/a.o",
    "src/deep/b.o",
    "src/[x]",
    "cache/z",
    "x/cache",
    "x/y/build/o",
)


def left(site: Site, *patterns: str) -> set[str]:
    """The files of TREE that these patterns leave in."""
    site.exclude = patterns
    return {path.decode() for path, entry in site.capture().entries.items() if entry.is_file}


@pytest.mark.parametrize(
    ("patterns", "gone"),
    [
        (("*.o",), {"src/a.o", "src/deep/b.o"}),
        (("tmp",), {"tmp/x", "tmp/keep", "src/tmp/y"}),
        (("/tmp",), {"tmp/x", "tmp/keep"}),
        (("tmp/x",), {"tmp/x"}),
        (("/tmp/*",), {"tmp/x", "tmp/keep"}),
        (("tmp/**",), {"tmp/x", "tmp/keep"}),
        (("cache/",), {"cache/z"}),
        (("cache",), {"cache/z", "x/cache"}),
        (("**/tmp",), {"tmp/x", "tmp/keep", "src/tmp/y"}),
        (("**/build/",), {"x/y/build/o"}),
        (("x/**/build",), {"x/y/build/o"}),
        (("src/**/*.o",), {"src/a.o", "src/deep/b.o"}),
        (("src/*.o",), {"src/a.o"}),
        (("[ab]",), {"a"}),
        (("[!b]",), {"a", "tmp/x", "src/tmp/y", "cache/z", "x/cache", "x/y/build/o"}),
        (("\\[x\\]",), {"src/[x]"}),
        (("src/[[]x]",), {"src/[x]"}),
        (("?",), {"a", "tmp/x", "src/tmp/y", "cache/z", "x/cache", "x/y/build/o"}),
        (("src/?.o", "/a", "x"), {"src/a.o", "a", "tmp/x", "x/cache", "x/y/build/o"}),
        (("src", "[z-"), {"src/tmp/y", "src/a.o", "src/deep/b.o", "src/[x]"}),
        (("x[!b]y/build", "x?y/build", "s*/x"), set()),
    ],
)
def test_patterns(site: Site, patterns: tuple[str, ...], gone: set[str]) -> None:
    """The rules of .gitignore."""
    for path in TREE:
        site.write(path, b"x")
    assert left(site, *patterns) == set(TREE) - gone


def test_patterns_match_names_that_are_not_text(site: Site) -> None:
    """A pattern is bytes, as a name is; a newline is a character like others."""
    for name in (b"\xff\xfe.tmp", b"a\n.tmp", b"stays"):
        Path(os.fsdecode(os.fsencode(site.tree) + b"/" + name)).touch()
    assert left(site, "*.tmp") == {"stays"}
    assert left(site, os.fsdecode(b"\xff*")) == {"a\n.tmp", "stays"}


def test_the_root_itself_is_never_left_out(site: Site) -> None:
    """A pattern that matches everything leaves an empty folder."""
    site.write("f")
    assert left(site, "*") == set()
    assert set(site.capture().entries) == {b"."}


@pytest.mark.parametrize("pattern", ["", "/", "!keep", "[z-a]"])
def test_patterns_that_cannot_be_meant(pattern: str) -> None:
    """They are refused, with examples."""
    with pytest.raises(UsageError) as wrong:
        Exclusions([pattern])
    assert "*.tmp" in wrong.value.hint


def test_caches_keep_their_tag(site: Site) -> None:
    """A tagged cache is kept as a folder with its tag; a tag without the signature is a file like others."""
    tag = b"Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n"
    site.write("cache/CACHEDIR.TAG", tag)
    site.write("cache/big", b"x")
    site.write("cache/sub/big", b"x")
    site.write("false/CACHEDIR.TAG", b"Signature: none")
    site.write("false/f", b"x")
    (site.tree / "linked").mkdir()
    (site.tree / "linked/CACHEDIR.TAG").symlink_to("../cache/CACHEDIR.TAG")
    site.write("linked/f", b"x")
    assert b"cache/sub/big" in site.capture().entries
    site.exclude_caches = True
    paths = set(site.capture().entries)
    assert b"cache/CACHEDIR.TAG" in paths
    assert not paths & {b"cache/big", b"cache/sub", b"cache/sub/big"}
    assert {b"false/f", b"linked/f"} <= paths


def test_vaults_and_the_state_folder_stay_out(site: Site) -> None:
    """They are kept as empty folders, wherever they lie in the component."""
    site.write("backup/vault.json", DESCRIPTOR)
    site.write("backup/packs/ab/cd", b"x")
    site.write("other/vault.json", b'{"made by": "somebody else"}')
    site.write("other/f", b"x")
    site.state = site.tree / "state"
    site.state.mkdir()
    for _ in range(2):
        paths = set(site.capture().entries)
        assert paths == {b".", b"backup", b"state", b"other", b"other/f", b"other/vault.json"}


# ----------------------------------------------------------------------------------------------------- file systems


@pytest.fixture
def other_system(site: Site) -> Iterator[Path]:
    """A folder of the tree on which another file system is mounted."""
    folder = site.tree / "m"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.root
def test_one_file_system(site: Site, other_system: Path) -> None:
    """What is mounted below is walked, and numbered; with `one_file_system` its root is an empty folder."""
    site.write("m/d/f", b"x")
    site.write("n/f", b"x")
    shot = site.capture()
    systems = {path: entry.file_system for path, entry in shot.entries.items()}
    assert systems == {b".": 0, b"m": 0, b"n": 0, b"m/d": 1, b"m/d/f": 1, b"n/f": 0}
    site.one_file_system = True
    assert set(site.capture().entries) == {b".", b"m", b"n", b"n/f"}


@pytest.mark.root
def test_hard_linked_file_mounted_from_elsewhere(site: Site, other_system: Path) -> None:
    """Its inode number could be that of another file here: it stands in a block of the other file system."""
    file = site.write("m/f", b"other")
    os.link(file, site.tree / "m/g")
    for name in ("a", "b", "c"):
        site.write(f"d/{name}", name.encode())
    subprocess.run(["mount", "--bind", file, site.tree / "d/b"], check=True)
    try:
        shot = site.capture()
        again = site.capture()
    finally:
        subprocess.run(["umount", site.tree / "d/b"], check=True)
    entries = shot.entries
    assert entries[b"d/b"].file_system == entries[b"m/f"].file_system == 1
    assert entries[b"d/a"].file_system == entries[b"d/c"].file_system == 0
    assert (again.captured.root, again.sink.added) == (shot.captured.root, [])


# ------------------------------------------------------------------------------------------------------------ probe


def test_probe_accepts_folders_and_files(site: Site) -> None:
    """Also through a symlink."""
    FilesKind().probe(site.spec)
    site.path = site.write("f")
    FilesKind().probe(site.spec)
    site.path = site.base / "link"
    site.path.symlink_to(site.tree)
    FilesKind().probe(site.spec)
    assert FilesKind().traits.capture == ("scan", "watch", "clone", "journal")


def test_probe_refuses_what_cannot_be_protected(site: Site) -> None:
    """With the fix."""
    site.write("vault/vault.json", DESCRIPTOR)
    os.mkfifo(site.tree / "pipe")
    for path in (site.base / "nothing", site.tree / "pipe", site.tree / "vault", Path("relative")):
        site.path = path
        with pytest.raises(UsageError) as wrong:
            FilesKind().probe(site.spec)
        assert wrong.value.hint
    site.path, site.exclude = None, ("!x",)
    with pytest.raises(UsageError):
        FilesKind().probe(site.spec)

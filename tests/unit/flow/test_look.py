"""Looking into points: paths, patterns, contents, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.core.errors import Locked, NotFound, UsageError
from knowngood.core.ids import Name
from knowngood.core.model import ComponentSpec, Point, ServiceSpec
from knowngood.core.ports import PageSource
from knowngood.flow import look
from knowngood.flow.history import history
from knowngood.flow.look import View
from knowngood.flow.moment import moment_of
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.flow.source import Source
from knowngood.kinds.files import FilesKind
from knowngood.testing.vaults import SmallVault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two components."""
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x.txt").write_text(name)
    (tmp_path / "a" / "only").write_bytes(b"only in a" * 100)
    return tmp_path


@pytest.fixture
def parts(vault: SmallVault, folder: Path) -> Parts:
    """With the files kind."""
    state = folder / "state"
    state.mkdir()
    kinds = {"files": FilesKind()}
    return Parts(vault.vault, vault.catalog, lambda: kinds, lambda _: str(state), lambda: vault.private)


@pytest.fixture
def made(parts: Parts, folder: Path) -> Callable[..., Point]:
    """Makes a point of components."""

    def make(*names: str) -> Point:
        components = (ComponentSpec(name=name, kind="files", path=str(folder / name)) for name in names)
        return protect(ServiceSpec(name="shop", components=tuple(components)), parts).point

    return make


@contextmanager
def view(point: Point, parts: Parts, component: str = "a") -> Iterator[View]:
    """One component, open."""
    with look.views(moment_of(point, parts), component, parts) as (opened,):
        yield opened


def names(entries: Iterator[look.Entry]) -> list[str]:
    """Their paths."""
    return [entry.path.decode() for entry in entries]


def test_listing(made: Callable[..., Point], parts: Parts, folder: Path) -> None:
    """A folder, all below it, a file; absolute or not; with slashes to spare."""
    with view(made("a"), parts) as opened:
        assert names(look.listing(opened, "", below=False)) == ["only", "sub"]
        assert names(look.listing(opened, "", below=True)) == ["only", "sub", "sub/x.txt"]
        assert names(look.listing(opened, "/sub/", below=True)) == ["sub/x.txt"]
        assert names(look.listing(opened, str(folder / "a" / "sub"), below=False)) == ["sub/x.txt"]
        assert names(look.listing(opened, "sub/x.txt", below=True)) == ["sub/x.txt"]
        assert names(look.listing(opened, str(folder / "a"), below=False)) == ["only", "sub"]
        with pytest.raises(NotFound):
            list(look.listing(opened, str(folder / "ab"), below=False))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["sub/x.txt"]),
        ("sub/*", ["sub/x.txt"]),
        ("/only", ["only"]),
        ("[os]*", ["only", "sub"]),
        ("*.TXT", []),
    ],
)
def test_find(pattern: str, found: list[str], made: Callable[..., Point], parts: Parts) -> None:
    """On names, or on paths when there is a slash."""
    with view(made("a"), parts) as opened:
        assert names(look.find(opened, pattern)) == found


def test_content(made: Callable[..., Point], parts: Parts, folder: Path) -> None:
    """Of files with holes at the beginning, between and at the end; of nothing but a hole; of none."""
    contents = {"holes": 3 << 20, "hole": 1 << 20, "empty": 0}
    for name, size in contents.items():
        with (folder / "a" / name).open("wb") as file:
            file.truncate(size)
            if name == "holes":
                for offset in (1 << 20, 2 << 20):
                    file.seek(offset)
                    file.write(b"data" * 50_000)
    with view(made("a"), parts) as opened:
        for name in (*contents, "only", "sub/x.txt"):
            assert b"".join(map(bytes, look.content(opened, name))) == (folder / "a" / name).read_bytes()
        with pytest.raises(UsageError) as caught:
            list(look.content(opened, "sub"))
        assert "knowngood ls" in caught.value.hint


def test_which_component(made: Callable[..., Point], parts: Parts) -> None:
    """The only one that there is, or that has the path."""
    point = made("a", "b")
    with look.views(moment_of(point, parts), None, parts) as opened:
        assert look.only(opened, "only").checkpoint.component == "a"
        with pytest.raises(UsageError) as caught:
            look.only(opened, "sub/x.txt")
        assert caught.value.hint == "choose with --component: a, b"
        with pytest.raises(NotFound):
            look.only(opened, "nowhere")
    with look.views(moment_of(point, parts), "b", parts) as opened:
        assert look.only(opened, "nowhere").checkpoint.component == "b"
    with pytest.raises(NotFound), look.views(moment_of(point, parts), "z", parts):
        pass


def test_history(made: Callable[..., Point], parts: Parts, folder: Path) -> None:
    """Through times when the component was not there, and when the path was not."""
    file = folder / "a" / "only"
    points = [made("b"), made("a", "b")]
    file.write_text("changed")
    points += [made("a"), made("a")]
    file.unlink()
    points += [made("a"), made("b")]
    versions = history(points, None, "only", parts).versions
    assert [(each.point, each.entry and each.entry.size) for each in versions] == [
        (points[0], None),
        (points[1], 900),
        (points[2], 7),
        (points[4], None),
    ]
    assert [each.cause for each in versions] == ["absent", "created", "written", "deleted"]
    assert {each.component for each in versions} == {"a"}


def test_history_reads_little(vault: SmallVault, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of trees that are the same, no leaf that is the same: a long history is a matter of a moment."""
    files = {b"d%d/f%d" % (at // 100, at): b"%d" % at for at in range(4000)}
    points = [vault.protect(files) for _ in range(3)]
    for number in range(6):
        files[b"d0/f0"] = b"changed %d" % number
        points.append(vault.protect(files))
    read: list[bytes] = []
    page = Source.page

    def reading(self: Source, name: Name) -> tuple[bytes, bytes]:
        read.append(name)
        return page(self, name)

    monkeypatch.setattr(Source, "page", reading)
    versions = history(points, None, "d39/f3999", parts).versions
    assert [each.point for each in versions] == points[:1]
    assert len(read) == 3 + 6, "root, root and leaf of the first one, and the root of each that differs"
    read.clear()
    assert len(history(points, None, "d0/f0", parts).versions) == 7
    assert len(read) == 3 * 7


def test_history_of_a_path_in_two_components(made: Callable[..., Point], parts: Parts) -> None:
    """Which one is meant has to be said."""
    with pytest.raises(UsageError):
        history([made("a"), made("a", "b")], None, "sub/x.txt", parts)


def test_differences(made: Callable[..., Point], parts: Parts, folder: Path) -> None:
    """What came, what went, what changed; nothing between a point and itself."""
    before = made("a")
    (folder / "a" / "only").unlink()
    (folder / "a" / "came").touch()
    with view(before, parts) as left, view(made("a"), parts) as right:
        changes = {(old or new).path: (old is not None, new is not None) for old, new in look.differences(left, right)}  # type: ignore[union-attr]
        assert changes[b"only"] == (True, False)
        assert changes[b"came"] == (False, True)
        assert b"sub/x.txt" not in changes
        assert list(look.differences(left, left)) == []


def test_without_the_key(made: Callable[..., Point], parts: Parts) -> None:
    """Nothing opens."""
    point = made("a")

    def none() -> PageSource:
        raise Locked("no key")

    locked = Parts(parts.vault, parts.catalog, parts.kinds, parts.state_dir, none)  # type: ignore[arg-type]
    with pytest.raises(Locked), look.views(moment_of(point, locked), None, locked):
        pass

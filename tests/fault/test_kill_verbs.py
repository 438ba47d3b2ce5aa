"""kill -9 at every change that a verb makes: what was acknowledged stays, and the verb run again completes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from knowngood.testing.killer import Outcome, run_and_kill
from knowngood.testing.trees import Picture, differences, picture
from knowngood.testing.vaults import small_packs
from tests.story.shop import KIB, some_bytes
from tests.user import User, in_process

pytestmark = pytest.mark.slow

MOST_KILLS = 150
MARKER = b".knowngood-unfinished"


@dataclass
class Scene:
    """A home, a vault and a folder that can be put back to where a verb began, at the same paths."""

    folder: Path
    states: dict[str, Picture] = field(default_factory=dict)  # acknowledged point → what it has to bring back

    @property
    def user(self) -> User:
        """Who types the verbs."""
        return User(self.folder / "now")

    @property
    def data(self) -> Path:
        """What is protected."""
        return self.folder / "now" / "data"

    def protect(self) -> str:
        """Make an acknowledged point."""
        with small_packs(64 * KIB, 16 * KIB, 16 * KIB):
            point = self.user.protects()["id"]
        self.states[point] = picture(self.data)
        return point

    def keep(self) -> None:
        """This is where the verb begins."""
        _copy(self.folder / "now", self.folder / "begin")

    def back(self, *names: str) -> None:
        """Put these folders back to where it begins."""
        for name in names:
            shutil.rmtree(self.folder / "now" / name, ignore_errors=True)
            if (self.folder / "begin" / name).exists():
                _copy(self.folder / "begin" / name, self.folder / "now" / name)

    def says(self, *words: str | Path, status: int = 0) -> Callable[[], object]:
        """A verb as an action."""

        def act() -> object:
            with small_packs(64 * KIB, 16 * KIB, 16 * KIB):
                return self.user.does(*words, status=status)

        return act

    def assert_sound(self, *, without: tuple[str, ...] = (), half_keys: bool = False) -> None:
        """The vault is clean, and every acknowledged point recovers byte for byte, also one nobody was told of.

        `half_keys`: one of the two copies of a key file may be missing.
        """
        checked = in_process(["--home", str(self.user.home), "vault", "check", "--json"])
        findings = checked.json["findings"]
        assert half_keys or not findings
        assert all(each["what"] == "key file" for each in findings)
        points = self.user.points()
        assert set(self.states) - set(without) <= set(points)
        for point in points:
            self.assert_recovers(point, self.states.get(point))

    def assert_recovers(self, point: str, state: Picture | None) -> None:
        """Into a new folder, exactly; a point that is not in the list is one of the folder as it is."""
        out = self.folder / "out"
        self.user.does("recover", "shop", "--at", point, "--component", "data", "--to", out)
        found = differences(state or picture(self.data), picture(out))
        shutil.rmtree(out)
        assert found == []


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)
    for folder in (source, *(each for each in source.rglob("*") if each.is_dir() and not each.is_symlink())):
        there = folder.stat()
        os.utime(target / folder.relative_to(source), ns=(there.st_atime_ns, there.st_mtime_ns))


def kills(action: Callable[[], object], reset: Callable[[], None]) -> Iterator[Outcome]:
    """Kill an action at each of its changes; from so many on that it would take too long, at every second, third…"""
    reset()
    whole = run_and_kill(action, 0)
    assert whole.finished
    step = -(-whole.calls // MOST_KILLS)
    for number in range(1, whole.calls + 1, step):
        reset()
        yield run_and_kill(action, number)


def _write(data: Path, generation: int) -> None:
    """The folder in one of its states: some files stay, some change, some come, some go."""
    (data / "sub" / "deep").mkdir(parents=True, exist_ok=True)
    (data / "same").write_bytes(some_bytes(20 * KIB))
    (data / "big").write_bytes(some_bytes(200 * KIB, seed=generation))
    (data / "sub" / "text").write_text(f"generation {generation}\n" * 50)
    (data / "sub" / "deep" / f"only {generation}").write_bytes(some_bytes(3 * KIB, seed=100 + generation))
    (data / "sub" / "deep" / f"only {generation - 1}").unlink(missing_ok=True)
    (data / "link").unlink(missing_ok=True)
    (data / "link").symlink_to(f"sub/{generation}")
    (data / "twin").unlink(missing_ok=True)
    os.link(data / "sub" / "text", data / "twin")
    (data / "mode").touch(mode=0o600)
    (data / "mode").chmod(0o640 + generation)


@pytest.fixture
def scene(place: Path) -> Scene:
    """A service with a folder of a few files, and no point yet."""
    scene = Scene(place)
    _write(scene.data, 0)
    scene.user.begins("shop", scene.data)
    scene.user.does("vault", "reserve", "0")
    return scene


def test_first_protect(scene: Scene) -> None:
    """No point, or a whole one."""
    scene.keep()
    act = scene.says("protect", "shop")
    for _ in kills(act, lambda: scene.back("home", "vault")):
        scene.assert_sound()
        act()
        scene.assert_sound()
        assert scene.user.points()


def test_incremental_protect(scene: Scene) -> None:
    """The points before it stay."""
    scene.protect()
    _write(scene.data, 1)
    scene.protect()
    _write(scene.data, 2)
    scene.keep()
    act = scene.says("protect", "shop")
    for _ in kills(act, lambda: scene.back("home", "vault")):
        before = len(scene.user.points())
        scene.assert_sound()
        act()
        assert len(scene.user.points()) == before + 1
        scene.assert_sound()


def test_recover_to_a_new_folder(scene: Scene) -> None:
    """What is not whole is marked; the same command finishes it."""
    point = scene.protect()
    target = scene.folder / "target"
    act = scene.says("recover", "shop", "--at", point, "--component", "data", "--to", target)
    for _ in kills(act, lambda: shutil.rmtree(target, ignore_errors=True)):
        if target.exists():
            found = picture(target)
            whole = _below(found) == _below(scene.states[point])  # the target's own attributes come last of all
            assert MARKER in found or not _below(found) or whole
        act()
        assert differences(scene.states[point], picture(target)) == []
    scene.assert_sound()


def _below(seen: Picture) -> Picture:
    return {path: each for path, each in seen.items() if path != b"."}


@pytest.mark.parametrize("extra", [("--delete",), ()])
def test_recover_in_place(extra: tuple[str, ...], scene: Scene) -> None:
    """Every name has its old content or its new one, never a part of either; nothing half made stays."""
    point = scene.protect()
    _write(scene.data, 1)
    shutil.rmtree(scene.data / "sub" / "deep")
    (scene.data / "sub" / "deep").write_text("a file where a folder was")
    (scene.data / "extra").write_text("came later")
    old, new = picture(scene.data), scene.states[point]
    scene.keep()
    act = scene.says("recover", "shop", "--at", point, *extra)
    for outcome in kills(act, lambda: scene.back("data")):
        now = picture(scene.data)
        for path, seen in now.items():
            assert _is_one_of(seen, [old.get(path), new.get(path)]) or _is_temporary(path), (outcome, path, seen)
        missing = (old.keys() & new.keys()) - now.keys()
        assert not {path for path in missing if old[path].kind == new[path].kind}, outcome
        act()
        expected = new if extra else {**new, b"extra": old[b"extra"]}
        assert differences(expected, picture(scene.data)) == [], outcome
    scene.assert_sound()


def _is_one_of(seen: object, versions: list[object]) -> bool:
    """Whether the content is that of a version. Attributes follow the content, and folders come last."""
    return any(
        each is not None and (each.kind, each.size, each.content) == (seen.kind, seen.size, seen.content)  # type: ignore[attr-defined]
        for each in versions
    )


def _is_temporary(path: bytes) -> bool:
    return path.rpartition(b"/")[2].startswith(b".knowngood-")


def test_tidy(scene: Scene) -> None:
    """Expiring, then collecting: packs that nobody needs, packs that are worth rewriting, runs to be merged."""
    gone = [scene.protect() for generation in range(3) if _write(scene.data, generation) is None]
    _write(scene.data, 3)
    scene.protect()
    scene.user.does("policy", "set", "shop", "any-moment=0", "hourly=0", "daily=0", "weekly=0", "monthly=0", "undo=0")
    scene.keep()
    act = scene.says("tidy")
    for _ in kills(act, lambda: scene.back("home", "vault")):
        scene.assert_sound(without=tuple(gone))
        act()
        act()
        assert len(scene.user.points()) == 1
        scene.assert_sound(without=tuple(gone))
        assert scene.user.asks("vault", "status")["sessions"] == []


@pytest.mark.parametrize("lost", [(), ("vault/index", "home/catalog.sqlite")])
def test_rebuild(lost: tuple[str, ...], scene: Scene) -> None:
    """The index is made anew while it is there, and while it is not."""
    for generation in range(3):
        _write(scene.data, generation)
        scene.protect()
    for each in lost:
        path = scene.folder / "now" / each
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    scene.keep()
    act = scene.says("vault", "rebuild")
    for _ in kills(act, lambda: scene.back("home", "vault")):
        if not lost:
            scene.assert_sound()
        act()
        scene.assert_sound()


def test_init(scene: Scene) -> None:
    """Run again, it makes the vault, or says how to use the one that is there by now."""
    shutil.rmtree(scene.folder / "now")
    user = scene.user
    words = ("init", "--vault", user.vault, "--no-passphrase")
    for outcome in kills(scene.says(*words), lambda: shutil.rmtree(scene.folder / "now", ignore_errors=True)):
        (scene.folder / "now").mkdir(exist_ok=True)
        if user.vault.is_dir() and (user.vault / "vault.json").exists():
            if not (user.home / "config.yaml").exists():
                user.does(*words, status=1)
                user.does(*words, "--join")
        else:
            user.does(*words)
        _write(scene.data, 0)
        user.does("service", "add", "shop", "--files", scene.data)
        user.protects()
        assert user.does("cat", "shop", "sub/text").out.startswith("generation 0"), outcome
        user.does("vault", "check")


@pytest.mark.parametrize("words", ["vault keys rotate --no-passphrase", "expire shop POINT", "undo shop HIDDEN"])
def test_smaller_verbs(words: str, scene: Scene) -> None:
    """They change keys and commits only."""
    first = scene.protect()
    _write(scene.data, 1)
    hidden = scene.protect()
    scene.user.does("expire", "shop", hidden)
    scene.keep()
    act = scene.says(*words.replace("POINT", first).replace("HIDDEN", hidden).split())
    for _ in kills(act, lambda: scene.back("home", "vault")):
        scene.assert_sound(without=(first, hidden), half_keys=words.startswith("vault keys"))
        if words.startswith("undo") and hidden in scene.user.points():
            continue  # it was done; to do it again would be a mistake
        act()
        scene.assert_sound(without=(first, hidden))
        for point in (first, hidden):
            scene.assert_recovers(point, scene.states[point])

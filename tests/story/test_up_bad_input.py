"""`knowngood up` and what may be wrong with a component: it goes on, at the level that can be had, and says why.

Others of this kind are held by: no permission for fanotify, no watches, overlays, bind mounts and mounts of others:
`unit/kinds_files_watch/test_endings.py`, `test_nobody.py`; NFS and its like: `unit/kinds_files/test_follow_watched.py`;
files that cannot be cloned: `test_clones.py` there; more names than may wait: `test_follow.py` there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from knowngood.core.instants import iso_text, now_ns
from tests.mounted import needs_fuse
from tests.servers.waiting import until
from tests.story.test_up import up
from tests.user import User, in_process


def _service(user: User, *paths: Path) -> None:
    user.begins("shop", *paths)
    user.does("policy", "set", "shop", "rpo=1d", "points=12h")


def _followers(user: User) -> dict[str, Any]:
    answer = in_process(["--home", str(user.home), "status", "--json"])
    return {each["component"]: each for each in answer.json["services"][0]["followers"]}


def _based(user: User, *components: str) -> None:
    """Wait until all of them are followed from a base on."""
    until(lambda: all(_followers(user).get(each, {}).get("behind") is not None for each in components))


def _records(user: User) -> dict[str, int]:
    return {each["name"]: each["records"] for each in user.asks("timeline", "shop")["components"]}


def _is_known(user: User, path: str) -> bool:
    return in_process(["--home", str(user.home), "history", "shop", path]).status == 0


def test_one_component_inside_another(tmp_path: Path) -> None:
    """What changes in the inner one is recorded in both, each in its own log."""
    user, outer = User(tmp_path), tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    (outer / "inner" / "note").write_bytes(b"before")
    _service(user, outer, outer / "inner")
    with up(user) as running:
        running.until("point", service="shop")
        _based(user, "outer", "inner")
        (outer / "inner" / "note").write_bytes(b"after")
        until(lambda: all(_records(user).values()))
        moment = iso_text(now_ns())
        for component, path in (("outer", "inner/note"), ("inner", "note")):
            found = user.does("cat", "shop", path, "--component", component, "--at", moment)
            assert found.raw == b"after"
        running.ends()


@pytest.mark.slow
def test_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    """The others are protected; it is followed as soon as it is there."""
    user, there, missing = User(tmp_path), tmp_path / "there", tmp_path / "missing"
    there.mkdir()
    _service(user, there, missing)
    with up(user) as running:
        trouble = running.until("trouble", service="shop")
        assert "missing is left out" in trouble["message"]
        _based(user, "there")
        failure = _followers(user)["missing"]["failure"]
        assert "no such file or directory" in failure
        missing.mkdir()
        (missing / "note").write_bytes(b"new")
        running.until("well", service="shop")
        assert user.does("cat", "shop", "note", "--component", "missing").raw == b"new"
        running.ends()


@pytest.mark.parametrize("capture", ["watch", pytest.param("journal", marks=[pytest.mark.root, needs_fuse])])
def test_names_that_end_lines(tmp_path: Path, capture: str) -> None:
    """A newline is a character like others, wherever names are told."""
    user, data = User(tmp_path), tmp_path / "data"
    data.mkdir()
    user.begins("shop")
    text = f"service: shop\ncomponents:\n  data: {{kind: files, path: {data}, capture: {capture}}}\n"
    (tmp_path / "shop.yaml").write_text(text + "policy: {rpo: 1d, points: 12h}\n")
    user.does("service", "apply", tmp_path / "shop.yaml")
    folder, names = data / "a\nb", ("c\nd", "\n", " e\r\n\\012")
    with up(user) as running:
        running.until("point", service="shop")
        until(lambda: _followers(user)["data"]["capture"] == capture)
        _based(user, "data")
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
        until(lambda: _records(user)["data"] >= 4)
        (folder / "\n").rename(folder / "f\n\ng")
        until(lambda: _is_known(user, "a\nb/f\n\ng"))
        for name in ("c\nd", "f\n\ng", " e\r\n\\012"):
            wanted = "\n" if name.startswith("f") else name
            assert user.does("cat", "shop", f"a\nb/{name}", "--at", "latest").raw == wanted.encode()
        running.ends()


def test_home_and_vault_inside(tmp_path: Path) -> None:
    """Neither is told of by what is protected: each commit changes both, and would be the next change to commit."""
    everything = tmp_path / "everything"
    (everything / "data").mkdir(parents=True)
    user = User(everything)
    user.does("init", "--vault", user.vault, "--no-passphrase")
    added = user.does("service", "add", "shop", "--files", everything)
    assert f"the vault {user.vault} lies inside component 'everything'" in added.err
    assert f"the home {user.home} lies inside component 'everything'" in added.err
    user.does("policy", "set", "shop", "rpo=1d", "points=12h")
    with up(user) as running:
        running.until("point", service="shop")
        _based(user, "everything")
        (everything / "data" / "file").write_bytes(b"x")
        until(lambda: _is_known(user, "data/file"))
        running.ends()
    listed = user.does("ls", "shop", "home").out
    assert "services/" in listed
    assert "keys/" in listed
    for derived in ("catalog.sqlite", "state", "lapses", "up.lock"):
        assert derived not in listed
    assert "commits" not in user.does("ls", "shop", "vault", status=0).out

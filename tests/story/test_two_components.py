"""A service of several components: protected as one, brought back together, one by one, or path by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowngood.testing.trees import picture
from tests.story.shop import assert_same
from tests.user import User


def _build(folder: Path) -> tuple[Path, Path, Path]:
    uploads, site, register = folder / "uploads", folder / "www" / "site", folder / "register.db"
    for each in (uploads / "in", site):
        each.mkdir(parents=True)
    (uploads / "in" / "photo.jpg").write_bytes(b"a photo" * 100)
    (uploads / "shared.txt").write_text("of uploads")
    (site / "index.html").write_text("<h1>Shop</h1>")
    (site / "shared.txt").write_text("of the site")
    register.write_bytes(b"order 1\n" * 1000)
    return uploads, site, register


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a service of two folders and a file, and one point of it."""
    user = User(tmp_path)
    user.begins("shop", *_build(tmp_path / "srv"))
    point = user.protects()
    assert [each["name"] for each in point["components"]] == ["uploads", "site", "register.db"]
    return user


@pytest.fixture
def srv(tmp_path: Path) -> Path:
    """Where its files are."""
    return tmp_path / "srv"


def test_everything_returns_to_where_it_was(user: User, srv: Path) -> None:
    """Each component in its place; files beside a component that is a file are none of our business."""
    good = picture(srv)
    (srv / "uploads" / "in" / "photo.jpg").unlink()
    (srv / "www" / "site" / "index.html").write_text("hacked")
    (srv / "register.db").write_bytes(b"")
    user.does("recover", "shop", "--delete")
    # the folders around the components are not protected: that something was replaced in them shows
    now = picture(srv)
    assert {path: now[path] for path in good if path not in (b".", b"www")} == {
        path: seen for path, seen in good.items() if path not in (b".", b"www")
    }


def test_layout_of_a_recovery_elsewhere(user: User, srv: Path, tmp_path: Path) -> None:
    """All components: a folder each. One component: straight into the folder that was named."""
    user.does("recover", "shop", "--to", tmp_path / "all")
    assert sorted(each.name for each in (tmp_path / "all").iterdir()) == ["register.db", "site", "uploads"]
    assert_same(tmp_path / "all" / "uploads", picture(srv / "uploads"))
    assert_same(tmp_path / "all" / "site", picture(srv / "www" / "site"))
    assert (tmp_path / "all" / "register.db" / "register.db").read_bytes() == b"order 1\n" * 1000
    user.does("recover", "shop", "--component", "site", "--to", tmp_path / "one")
    assert_same(tmp_path / "one", picture(srv / "www" / "site"))


def test_one_component_leaves_the_others_alone(user: User, srv: Path) -> None:
    """Although they have changed as well."""
    (srv / "uploads" / "shared.txt").write_text("changed")
    (srv / "www" / "site" / "shared.txt").write_text("changed")
    user.does("recover", "shop", "-c", "site")
    assert (srv / "uploads" / "shared.txt").read_text() == "changed"
    assert (srv / "www" / "site" / "shared.txt").read_text() == "of the site"


def test_an_unknown_component(user: User, tmp_path: Path) -> None:
    """The answer names those that there are."""
    answer = user.does("recover", "shop", "-c", "stie", "--to", tmp_path / "out", status=4)
    assert answer.next == "it has: uploads, site, register.db"


def test_paths_find_their_component(user: User, srv: Path) -> None:
    """By their absolute name, by a name that only one has, by a pattern over all of them."""
    for path in ("uploads/in/photo.jpg", "www/site/index.html"):
        (srv / path).unlink()
    user.does("recover", "shop", "--path", str(srv / "uploads" / "in" / "photo.jpg"), "--path", "index.html")
    assert (srv / "uploads" / "in" / "photo.jpg").read_bytes() == b"a photo" * 100
    assert (srv / "www" / "site" / "index.html").read_text() == "<h1>Shop</h1>"
    for path in ("uploads/shared.txt", "www/site/shared.txt"):
        (srv / path).unlink()
    plans = user.asks("recover", "shop", "--path", "*.txt")["plans"]
    assert [(each["component"], each["create"]) for each in plans] == [("uploads", 1), ("site", 1)]
    assert (srv / "www" / "site" / "shared.txt").read_text() == "of the site"


@pytest.mark.parametrize("path", ["nothing.txt", "*.doc", "/etc/passwd"])
def test_a_path_that_no_component_has(path: str, user: User, srv: Path) -> None:
    """Nothing at all is written, also not what the other path means."""
    (srv / "www" / "site" / "index.html").unlink()
    answer = user.does("recover", "shop", "--path", "index.html", "--path", path, status=4)
    assert path in answer.err
    assert not (srv / "www" / "site" / "index.html").exists()


def test_looking_at_a_path_that_two_have(user: User) -> None:
    """It has to be said which one is meant."""
    answer = user.does("cat", "shop", "shared.txt", status=2)
    assert answer.next == "choose with --component: uploads, site"
    assert user.does("cat", "shop", "shared.txt", "-c", "site").out == "of the site"
    assert user.does("cat", "shop", "photo.jpg", status=4).next
    assert user.does("cat", "shop", "in/photo.jpg").raw == b"a photo" * 100


def test_components_change_with_time(user: User, srv: Path, tmp_path: Path) -> None:
    """An old point has the components of its day, whatever the service is made of now."""
    user.does("service", "remove", "shop", "--component", "site")
    (srv / "mail").mkdir()
    (srv / "mail" / "1").write_text("hello")
    user.does("service", "add", "shop", "--files", srv / "mail")
    new = user.protects()
    assert [each["name"] for each in new["components"]] == ["uploads", "register.db", "mail"]
    user.does("recover", "shop", "--at", user.points()[1], "-c", "site", "--to", tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == "<h1>Shop</h1>"
    user.does("recover", "shop", "-c", "site", "--to", tmp_path / "none", status=4)


def test_excluded_files_are_no_extras(tmp_path: Path) -> None:
    """What the point was told to leave out is not missing from it: --delete spares it."""
    user, data = User(tmp_path), tmp_path / "data"
    (data / "cache").mkdir(parents=True)
    for name in ("kept", "notes.tmp", "cache/page"):
        (data / name).write_text(name)
    user.begins("shop", data, words=("--exclude", "*.tmp", "--exclude", "cache/"))
    user.protects()
    (data / "new").write_text("since then")
    user.does("service", "apply", _without_exclusions(user))
    user.does("recover", "shop", "--delete")
    assert sorted(each.name for each in data.iterdir()) == ["cache", "kept", "notes.tmp"]
    assert (data / "cache" / "page").exists()


def _without_exclusions(user: User) -> Path:
    """The service's file, edited by hand: it excludes nothing any more."""
    lines = (user.home / "services" / "shop.yaml").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if "exclude:" in line)
    edited = user.folder / "edited.yaml"
    edited.write_text("\n".join(lines[:start] + lines[start + 3 :]) + "\n")
    return edited

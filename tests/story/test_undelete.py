"""What was deleted is found again, and chosen things come back to where they were."""

from __future__ import annotations

from knowngood.testing.trees import picture
from tests.story.shop import assert_same
from tests.story.tale import Tale


def paths(found: dict) -> dict[str, bool]:
    """What was deleted → whether something is there now."""
    return {each["entry"]["path"]: each["is_there"] for each in found["found"]}


def test_undelete(tale: Tale) -> None:
    """A list of what went; chosen things come back as they were at last, and nothing that is there is touched."""
    does, user, data = tale.recorder, tale.user, tale.data
    does.mkdir("sub/deep")
    does.create("sub/deep/kept", b"moved away in time")
    does.create("sub/deep/lost", b"lost")
    does.write("sub/deep/lost", b"LOST")
    does.chmod("sub/deep", 0o750)
    tale.clock.move(60)
    good = picture(data)
    does.rename("sub/deep/kept", "kept")
    for path in ("sub/deep/lost", "sub/deep", "sub/old", "note"):
        does.unlink(path)
    does.commits()
    does.create("note", b"a new one")
    does.commits()
    assert paths(user.asks("undelete", "shop")) == {
        "sub/deep/lost": False,
        "sub/deep": False,
        "sub/old": False,
        "note": True,
    }
    before = picture(data)
    plan = user.does("undelete", "shop", "--path", "sub", "--dry-run").out
    assert "create" in plan
    assert picture(data) == before
    assert "is there again" in user.does("undelete", "shop", "--path", "note", status=1).err
    assert "nothing that was deleted" in user.does("undelete", "shop", "--path", "ledger", status=4).err
    user.does("undelete", "shop", "--path", str(data / "sub"))
    after = picture(data)
    assert (data / "note").read_bytes() == b"a new one"
    assert not (data / "sub" / "deep" / "kept").exists()
    assert {path: after[path] for path in (b"sub/old", b"sub/deep/lost")} == {
        path: good[path] for path in (b"sub/old", b"sub/deep/lost")
    }
    assert paths(user.asks("undelete", "shop")) == {
        "sub/deep/lost": True,
        "sub/deep": True,
        "sub/old": True,
        "note": True,
    }


def test_undelete_of_a_whole_folder(tale: Tale) -> None:
    """Down to the rights of the folders in it; each thing as it was at last, though they changed in turn."""
    does, user, data = tale.recorder, tale.user, tale.data
    does.mkdir("tree")
    does.mkdir("tree/empty")
    for name in "ab":
        does.mkdir(f"tree/{name}")
        does.create(f"tree/{name}/file", name.encode() * 3000)
    does.chmod("tree/a", 0o711)
    does.commits()
    tale.clock.move(1)
    good = picture(data / "tree")
    for path in ("tree/a/file", "tree/a", "tree/b/file", "tree/b", "tree/empty", "tree"):
        does.unlink(path)
    does.commits()
    user.does("undelete", "shop", "--path", "tree", "--since", "-60s")
    assert_same(data / "tree", good)
    for name in "ab":
        does.create(f"{name}1", b"first")
        does.write(f"{name}1", name.encode())
        does.unlink(f"{name}1")
    does.commits()
    user.does("undelete", "shop", "--path", "?1")
    assert (data / "a1").read_bytes() == b"airst"
    assert (data / "b1").read_bytes() == b"birst"


def test_undelete_does_not_replace_what_is_in_the_way(tale: Tale) -> None:
    """A file where the folder was."""
    does, user, data = tale.recorder, tale.user, tale.data
    does.unlink("sub/old")
    does.unlink("sub")
    does.create("sub", b"a file now")
    does.commits()
    assert "in the way" in user.does("undelete", "shop", "--path", "sub/old", status=1).err
    assert (data / "sub").read_bytes() == b"a file now"


def test_undelete_without_a_log(tale: Tale) -> None:
    """What a point had and the next one has not; a new name is no deletion."""
    user, data = tale.user, tale.data
    tale.clock.move(60)
    (data / "note").unlink()
    (data / "ledger").rename(data / "book")
    user.protects()
    assert paths(user.asks("undelete", "shop", "--since", "-2d")) == {"note": False}
    user.does("undelete", "shop", "--path", "note", "--since", "-2d")
    assert (data / "note").read_text() == "the first words"
    assert paths(user.asks("undelete", "shop", "--since", "-1s")) == {"note": True}


def test_undelete_of_a_file_that_was_written_to_under_another_name(tale: Tale) -> None:
    """Only what concerns the path is replayed; by its inode it is seen that this was not all."""
    does, user, data = tale.recorder, tale.user, tale.data
    does.create("one", b"1111")
    does.link("other", "one")
    does.commits()
    does.protects()
    tale.clock.move(1)
    does.write("other", b"2222")
    does.unlink("other")
    does.unlink("one")
    does.commits()
    user.does("undelete", "shop", "--path", "one")
    assert (data / "one").read_bytes() == b"2222"

"""What can be made anew may be lost: the index, the epochs, the catalog, what a kind remembers, the whole home."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from knowngood.testing.trees import Picture
from tests.story.shop import assert_same, ruin
from tests.user import User


@pytest.fixture
def user(tmp_path: Path, shop: Path, good: Picture) -> User:
    """With two points: one of the shop as it was, one of its ruins."""
    user = User(tmp_path)
    user.begins("shop", shop)
    user.protects("shop", "--name", "good")
    ruin(shop)
    user.protects()
    return user


def test_lost_index(user: User, shop: Path, good: Picture) -> None:
    """Reading says what to do; that makes it anew from the packs; after it everything is as before."""
    shutil.rmtree(user.vault / "index")
    answer = user.does("recover", "shop", "--at", "good", status=6)
    assert "knowngood vault rebuild" in answer.next
    assert user.does("vault", "check", status=6).err
    rebuilt = user.asks("vault", "rebuild")
    assert rebuilt["points"] == 2
    assert rebuilt["damaged"] == []
    user.does("vault", "check", "--read-data")
    user.does("recover", "shop", "--at", "good", "--delete")
    assert_same(shop, good)


def test_protecting_with_a_lost_index(user: User, shop: Path, good: Picture) -> None:
    """Costs space, never a point; collection refuses to judge what it cannot see."""
    shutil.rmtree(user.vault / "index")
    user.does("tidy", status=6)
    user.protects()
    user.does("vault", "rebuild")
    user.does("tidy")
    user.does("vault", "check", "--read-data")
    user.does("recover", "shop", "--at", "good", "--delete")
    assert_same(shop, good)


@pytest.mark.parametrize("how", ["lost", "damaged", "cut off"])
def test_index_and_epochs(how: str, user: User, shop: Path, good: Picture) -> None:
    """All that is derived, in every bad state."""
    user.does("vault", "rebuild")
    for folder in ("index", "epochs"):
        for each in (user.vault / folder).iterdir():
            if how == "lost":
                each.unlink()
            else:
                data = bytearray(each.read_bytes())
                data[len(data) // 2] ^= 1
                each.write_bytes(data if how == "damaged" else data[: len(data) // 2])
    user.does("vault", "rebuild")
    user.does("vault", "check", "--read-data")
    user.does("recover", "shop", "--at", "good", "--delete")
    assert_same(shop, good)


@pytest.mark.parametrize("how", ["lost", "damaged", "not a database"])
def test_lost_catalog(how: str, user: User, shop: Path, good: Picture) -> None:
    """It is made anew from the vault, without a word."""
    points = user.asks("points", "shop")
    catalog = user.home / "catalog.sqlite"
    if how == "lost":
        catalog.unlink()
    elif how == "damaged":
        data = bytearray(catalog.read_bytes())
        data[4096:] = bytes(len(data) - 4096)
        catalog.write_bytes(data)
    else:
        catalog.write_text("what is this?" * 1000)
    assert user.asks("points", "shop") == points
    user.does("recover", "shop", "--at", "good", "--delete")
    assert_same(shop, good)


def test_lost_catalog_of_a_home_without_the_key(tmp_path: Path) -> None:
    """Names take the key then. Protecting goes on without; points are never taken for none."""
    data, user = tmp_path / "data", User(tmp_path)
    data.mkdir()
    (data / "file").write_text("content")
    (tmp_path / "pass").write_text("a passphrase\n")
    user.does("init", "--vault", user.vault, "--passphrase-file", tmp_path / "pass")
    user.does("service", "add", "shop", "--files", data)
    user.protects()
    (user.home / "catalog.sqlite").unlink()
    assert "take the private key" in user.does("points", "shop").err
    answer = user.does("expire", "shop", "some name", status=4)
    assert answer.next
    user.protects()
    assert len(user.points()) == 1
    assert user.does("vault", "rebuild", "--passphrase-file", tmp_path / "pass").status == 0
    assert len(user.points()) == 2
    user.does("tidy")


def test_lost_memory_of_a_kind(user: User, shop: Path) -> None:
    """What it knew of files is forgotten: they are read again, and stored only once."""
    shutil.rmtree(user.home / "state")
    point = user.protects()
    assert point["components"][0]["read_bytes"] > 5_000_000
    assert point["new_bytes"] < 10_000
    assert user.protects()["components"][0]["read_bytes"] == 0


def test_lost_home(user: User, shop: Path, good: Picture) -> None:
    """The vault and the key are enough; the service is said again, and goes on where it was."""
    key = user.folder / "kit"
    key.write_text(user.asks("vault", "keys", "kit")["recovery_key"])
    shutil.rmtree(user.home)
    answer = user.does("points", "shop", status=4)
    assert "knowngood init" in answer.next
    user.does("init", "--vault", user.vault, "--join", "--no-passphrase", "--recovery-key-file", key)
    assert len(user.points()) == 2
    user.does("recover", "shop", "--at", "good", "--delete")
    assert_same(shop, good)
    user.does("service", "add", "shop", "--files", shop)
    assert user.protects()["new_bytes"] < 10_000
    assert len(user.points()) == 3


def test_a_lost_pack(user: User, shop: Path, tmp_path: Path) -> None:
    """That is damage: it is found, it is said which points it affects, and all that can come back does."""
    packs = [each for each in (user.vault / "packs").rglob("*") if each.is_file()]
    max(packs, key=lambda each: each.stat().st_size).unlink()
    document = user.asks("vault", "check", status=6)
    assert any(each["services"] == ["shop"] and each["points"] for each in document["findings"])
    assert user.does("recover", "shop", "--at", "good", "--to", tmp_path / "out", status=3).err
    assert (tmp_path / "out" / "shop" / "strange" / "current").is_symlink()
    user.does("tidy", status=6)


def _packs(user: User, folder: str = "packs") -> list[Path]:
    """Largest first."""
    packs = (each for each in (user.vault / folder).rglob("*") if each.is_file())
    return sorted(packs, key=lambda each: -each.stat().st_size)


def _hurt(pack: Path, how: str) -> None:
    if how == "lost":
        pack.unlink()
    elif how == "cut off":
        os.truncate(pack, pack.stat().st_size // 10)
    else:
        data = bytearray(pack.read_bytes())
        for at in range(len(data) // 20, len(data), len(data) // 10):
            data[at] ^= 1
        pack.write_bytes(data)


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("how", ["lost", "flipped", "cut off"])
def test_damage_heals(how: str, rebuild: bool, user: User, shop: Path, good: Picture, tmp_path: Path) -> None:
    """What is lost and still there at the source is stored again, and the old points that need it become whole."""
    user.does("recover", "shop", "--at", "good", "--delete")
    pack = _packs(user)[0]
    _hurt(pack, how)
    told = user.does("vault", "check", "--read-data", status=6).out
    assert "  knowngood protect shop\n" in told
    assert "knowngood protect shop" in user.does("doctor", status=1).out
    if rebuild:
        user.does("vault", "rebuild", status=0 if how == "lost" else 6)  # forgets what the pack held
    assert user.protects()["new_bytes"] > 5_000_000
    user.does("recover", "shop", "--at", "good", "--to", tmp_path / "out")
    assert_same(tmp_path / "out" / "shop", good)
    fresh = user.protects()["components"][0]
    checked = user.asks("vault", "check", "--read-data")
    assert checked["findings"] == []
    assert len(checked["spent_packs"]) == (how != "lost")
    assert (fresh["read_bytes"], fresh["new_bytes"]) == (0, 0)
    graves = [each["what"] for each in user.asks("doctor")["findings"] if each["grave"]]
    assert graves == []
    user.does("tidy")
    assert not pack.exists()
    assert user.asks("vault", "check", "--read-data")["spent_packs"] == []
    user.does("recover", "shop", "--at", "good", "--to", tmp_path / "again")
    assert_same(tmp_path / "again" / "shop", good)


@pytest.mark.parametrize("how", ["lost", "flipped", "cut off"])
def test_damaged_trees_heal(how: str, user: User, shop: Path, good: Picture, tmp_path: Path) -> None:
    """A page is made anew by whoever reads the same folder in the same state."""
    user.does("recover", "shop", "--at", "good", "--delete")
    user.protects()
    for pack in _packs(user, "pages"):
        _hurt(pack, how)
    user.does("vault", "check", "--read-data", status=6)
    user.protects()
    user.does("vault", "check", "--read-data", status=6)  # the tree of the ruins is nowhere any more
    user.does("recover", "shop", "--to", tmp_path / "out")
    assert_same(tmp_path / "out" / "shop", good)


@pytest.mark.parametrize("folder", ["packs", "pages"])
def test_damage_that_nothing_heals(folder: str, user: User, shop: Path, good: Picture, tmp_path: Path) -> None:
    """Collection says what hinders it, whom it touches, and each way out; every one of these commands works."""
    user.does("recover", "shop", "--at", "good", "--delete")
    user.protects("shop", "--name", "intact")
    (shop / "once").write_bytes(os.urandom(300_000))
    before = set(_packs(user, folder))
    lost = user.protects()["id"]
    (pack,) = set(_packs(user, folder)) - before
    (shop / "once").unlink()
    user.protects()
    _hurt(pack, "flipped")
    user.does("vault", "check", "--read-data", status=6)
    user.protects()
    user.does("vault", "check", "--read-data", status=6)
    user.does("policy", "set", "shop", "undo=0")
    kept = user.home / "keys" / "unlocking.key"
    kept.rename(user.folder / "kit")
    tidied = user.asks("tidy", status=6)
    assert tidied["collected"] is None
    assert lost[:8] in tidied["warnings"][0]
    answer = user.does("vault", "collect", status=6)
    assert f"touches points of shop ({lost[:8]})" in answer.err
    assert f"knowngood expire shop {lost[:8]}, then knowngood vault collect --now" in answer.err
    words = ("vault", "collect", "--recovery-key-file", user.folder / "kit")
    if folder == "packs":
        assert user.asks(*words)["collected"]["lost_chunks"] == 1
    else:
        assert "private key" not in user.does(*words, status=6).next
    user.does("expire", "shop", lost[:8])
    user.does("vault", "collect", "--now", "--yes")
    user.does("vault", "check", "--read-data")
    key = ("--recovery-key-file", user.folder / "kit")
    user.does("recover", "shop", "--at", "intact", "--to", tmp_path / "out", *key)
    assert_same(tmp_path / "out" / "shop", good)

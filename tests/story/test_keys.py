"""Keys change; what they sealed stays readable, and is not written anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.testing.trees import picture
from knowngood.vault import vault as vault_module
from knowngood.vault.record import Hidden
from tests.story.shop import assert_same, build_shop
from tests.user import User

RESCUE = Path(__file__).resolve().parents[2] / "rescue.py"


def _packs(user: User) -> set[str]:
    return {each.name for folder in ("packs", "pages") for each in (user.vault / folder).rglob("*") if each.is_file()}


def _file(user: User, name: str, text: str) -> Path:
    path = user.folder / name
    path.write_text(text)
    return path


def test_keys_rotate_and_old_points_still_recover(tmp_path: Path) -> None:
    """Kept here, then under a passphrase, then kept here again: every point made between recovers with today's key."""
    user, shop = User(tmp_path), build_shop(tmp_path / "shop")
    user.begins("shop", shop)
    states = {user.protects()["id"]: picture(shop)}
    packs = _packs(user)
    secret = _file(user, "pass", "first\n")
    for number, words in enumerate((("--no-passphrase",), ("--new-passphrase-file", secret), ("--no-passphrase",))):
        unlock = ("--passphrase-file", secret) if number == 2 else ()
        kit = user.asks("vault", "keys", "rotate", *words, *unlock)
        assert kit["document"] == "vault keys rotate"
        assert _packs(user) >= packs
        (shop / "uploads" / f"new-{number}").write_bytes(os.urandom(1000))
        states[user.protects()["id"]] = picture(shop)
    assert user.asks("vault", "keys", "show")["keys"][0]["replaced_keys"] == 3
    for point, state in states.items():
        user.does("recover", "shop", "--at", point, "--delete")
        assert_same(shop, state)
    new = User(tmp_path, home=tmp_path / "other", vault=user.vault)
    key = _file(user, "kit", kit["recovery_key"])
    new.does("init", "--vault", user.vault, "--join", "--no-passphrase", "--recovery-key-file", key)
    assert set(new.points()) == states.keys()
    new.does("recover", "shop", "--at", next(iter(states)), "--to", tmp_path / "out")
    user.does("vault", "check", "--read-data")


def test_an_old_kit_is_void(tmp_path: Path) -> None:
    """For this vault as it is now."""
    user, data = User(tmp_path), tmp_path / "data"
    data.mkdir()
    key = _file(user, "kit", user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", data)
    user.protects()
    told = user.does("vault", "keys", "rotate", "--no-passphrase").out
    assert told.startswith("the old recovery kit is void")
    user.does("ls", "shop", "--recovery-key-file", key, status=5)
    user.does("ls", "shop")


@pytest.mark.slow
def test_passphrase_changes(tmp_path: Path) -> None:
    """The old one opens nothing any more, the recovery key does as before; off-line, only the recovery key is left."""
    user, data = User(tmp_path), tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("content")
    old, new = _file(user, "old", "old one\n"), _file(user, "new", "new one\n")
    key = _file(user, "kit", user.asks("init", "--vault", user.vault, "--passphrase-file", old)["recovery_key"])
    user.does("service", "add", "shop", "--files", data)
    user.protects()
    change = ("vault", "keys", "passphrase")
    user.does(*change, "--new-passphrase-file", new, "--passphrase-file", new, status=5)
    user.does(*change, "--new-passphrase-file", new, "--passphrase-file", old)
    user.does("cat", "shop", "file", "--passphrase-file", old, status=5)
    assert user.does("cat", "shop", "file", "--passphrase-file", new).out == "content"
    assert user.asks("vault", "keys", "kit", "--recovery-key-file", key)["recovery_key"] == key.read_text()
    assert user.asks("vault", "keys", "show") | {"keys": None} == {
        "document": "vault keys show",
        "keys": None,
        "private_key_here": False,
        "warnings": [],
    }

    user.does(*change, "--no-passphrase", "--passphrase-file", new)
    shown = user.asks("vault", "keys", "show")
    assert (shown["private_key_here"], shown["keys"][0]["passphrase"]) == (True, False)
    assert user.does("cat", "shop", "file").out == "content"
    (user.home / "keys" / "unlocking.key").unlink()
    user.does("cat", "shop", "file", "--passphrase-file", new, status=5)
    assert user.does("cat", "shop", "file", "--recovery-key-file", key).out == "content"


def test_nobody_to_ask_for_a_new_passphrase(tmp_path: Path) -> None:
    """Nothing is changed then."""
    user = User(tmp_path)
    user.begins()
    for words in (("passphrase",), ("rotate",)):
        answer = user.does("vault", "keys", *words, status=2)
        assert "--new-passphrase-file FILE, or --no-passphrase" in answer.next
    assert user.asks("vault", "keys", "show")["private_key_here"]


@pytest.mark.parametrize("name", ["writer.key", "unlocking.key"])
def test_a_key_in_the_home_is_damaged(name: str, tmp_path: Path) -> None:
    """Nothing is sealed with it; the error names the file and the way out, which works."""
    user, data = User(tmp_path), tmp_path / "data"
    data.mkdir()
    key = _file(user, "kit", user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", data)
    user.protects()
    path = user.home / "keys" / name
    text = path.read_text()
    path.write_text(text[:-10] + ("B" if text[-10] != "B" else "C") + text[-9:])
    answer = user.does("ls", "shop", status=6)
    assert str(path) in answer.err
    assert answer.next.startswith("move it away")
    if name == "writer.key":
        user.does("protect", "shop", status=6)
    path.rename(tmp_path / "away")
    user.does("init", "--join", "--no-passphrase", "--recovery-key-file", key)
    user.protects()
    user.does("ls", "shop")


def test_the_vault_has_lost_its_key_file(tmp_path: Path) -> None:
    """A machine that keeps the key reads on, and is told."""
    user, shop = User(tmp_path), build_shop(tmp_path / "shop")
    user.begins("shop", shop)
    user.protects()
    for each in (user.vault / "keys").iterdir():
        each.unlink()
    user.does("recover", "shop", "--to", tmp_path / "out")
    assert_same(tmp_path / "out" / "shop", picture(shop))
    findings = user.asks("doctor", status=1)["findings"]
    (fix,) = [each["fix"] for each in findings if each["grave"] and "key file" in each["what"]]
    assert fix == "knowngood vault keys restore"
    secret = _file(user, "pass", "another passphrase\n")
    answer = user.asks(*fix.split()[1:], "--new-passphrase-file", secret)
    assert (answer["naming_from"], answer["shut_packs"]) == ("home", 0)
    _reads_with(user, "new home", "--passphrase-file", secret)
    user.does("vault", "check", "--read-data")
    user.does("vault", "keys", "restore", "--recovery-key-file", _kit(user, secret), status=1)


def _kit(user: User, secret: Path) -> Path:
    return _file(user, "kit", user.asks("vault", "keys", "kit", "--passphrase-file", secret)["recovery_key"])


def _reads_with(user: User, name: str, *words: str | Path) -> User:
    """A new home joins with these words, and reads and writes."""
    new = User(user.folder, home=user.folder / name, vault=user.vault)
    new.does("init", "--vault", user.vault, "--join", "--no-passphrase", *words)
    new.does("service", "adopt", "--all")
    new.does("recover", "shop", "--to", user.folder / f"out of {name}")
    assert_same(user.folder / f"out of {name}" / "shop", picture(user.folder / "shop"))
    assert new.protects()["new_bytes"] < 20_000  # the same naming secret: it knows what is there
    return new


def _lose_keys(user: User, how: str) -> None:
    for each in (user.vault / "keys").iterdir():
        each.unlink() if how == "deleted" else each.write_bytes(each.read_bytes()[:-20])


@pytest.mark.parametrize("how", ["deleted", "damaged"])
def test_only_the_kit_and_a_vault_without_key_files(how: str, tmp_path: Path) -> None:
    """The machine is gone, and the vault was hurt as well. The way is named at every step."""
    user, shop = User(tmp_path), build_shop(tmp_path / "shop")
    kit = _file(user, "kit", user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", shop)
    user.protects()
    shutil.rmtree(user.home)
    _lose_keys(user, how)
    new = User(tmp_path, home=tmp_path / "other", vault=user.vault)
    answer = new.does("init", "--vault", user.vault, "--join", "--recovery-key-file", kit, status=5)
    assert "knowngood vault keys restore --vault DIR --recovery-key-file FILE" in answer.next
    words = ("vault", "keys", "restore", "--vault", user.vault, "--no-passphrase")
    new.does(*words, status=5)
    assert new.asks(*words, "--recovery-key-file", kit)["naming_from"] == "commits"
    new.does("init", "--vault", user.vault, "--join", "--no-passphrase")  # the key is kept here by now
    new.does("service", "adopt", "--all")
    new.does("recover", "shop", "--to", tmp_path / "out")
    assert_same(tmp_path / "out" / "shop", picture(shop))
    assert new.protects()["new_bytes"] < 20_000
    new.does("vault", "check", "--read-data")


def test_the_kit_of_another_vault_restores_nothing(tmp_path: Path) -> None:
    """With a home or without one, and also while the vault is empty."""
    user, stranger = User(tmp_path), User(tmp_path / "stranger")
    kit = _file(user, "kit", stranger.asks("init", "--no-passphrase")["recovery_key"])
    user.begins("shop", tmp_path)
    _lose_keys(user, "deleted")
    words = ("vault", "keys", "restore", "--vault", user.vault, "--no-passphrase", "--recovery-key-file", kit)
    assert "kit" in user.does(*words, status=5).next
    stranger.does(*words, status=5)
    user.does("vault", "keys", "restore", "--no-passphrase")
    (tmp_path / "file").write_text("content")
    user.protects()
    _lose_keys(user, "deleted")
    user.does(*words, status=5)
    assert list((user.vault / "keys").iterdir()) == []


def test_replaced_keys_come_from_their_kits(tmp_path: Path) -> None:
    """What was sealed to them stays shut without; the answer says so, and how to add them."""
    user, data = User(tmp_path), tmp_path / "data"
    data.mkdir()
    kits = [_file(user, "kit-0", user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])]
    user.does("service", "add", "shop", "--files", data)
    points = []
    for number in range(3):
        (data / "file").write_bytes(os.urandom(1000))
        points.append((user.protects()["id"], (data / "file").read_bytes()))
        if number < 2:
            key = user.asks("vault", "keys", "rotate", "--no-passphrase")["recovery_key"]
            kits.append(_file(user, f"kit-{number + 1}", key))
    _lose_keys(user, "deleted")
    words = ("vault", "keys", "restore", "--no-passphrase")
    first = user.asks(*words)
    assert first["shut_packs"] == 4
    assert "--replaced-key-file FILE" in first["warnings"][0]
    user.does("cat", "shop", "file", "--at", points[0][0], status=5)
    assert user.asks(*words, "--replaced-key-file", kits[1])["shut_packs"] == 2
    assert user.asks(*words, "--replaced-key-file", kits[0])["replaced_keys"] == 2
    for point, content in points:
        assert user.does("cat", "shop", "file", "--at", point).raw == content
    new = User(tmp_path, home=tmp_path / "new", vault=user.vault)
    new.does("init", "--vault", user.vault, "--join", "--no-passphrase", "--recovery-key-file", kits[2])
    assert new.does("cat", "shop", "file", "--at", points[0][0]).raw == points[0][1]


def test_the_naming_secret_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits of older versions do not have it. Then this program cannot tell true content from false; rescue.py, which
    never could, brings the files back."""
    monkeypatch.setattr(vault_module, "Hidden", lambda checkpoints, points, _: Hidden(checkpoints, points))
    user, shop = User(tmp_path), build_shop(tmp_path / "shop")
    kit = _file(user, "kit", user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", shop)
    user.protects()
    _lose_keys(user, "deleted")
    new = User(tmp_path, home=tmp_path / "other", vault=user.vault)
    words = ("vault", "keys", "restore", "--vault", user.vault, "--no-passphrase", "--recovery-key-file", kit)
    assert "python rescue.py" in new.does(*words, status=5).next
    rescue = (sys.executable, "-I", RESCUE, user.vault, "--recovery-key-file", kit)
    subprocess.run([*rescue, "restore", "latest", "--to", tmp_path / "out"], check=True, capture_output=True)
    assert_same(tmp_path / "out" / "shop", picture(shop))
    assert user.asks(*words)["naming_from"] == "home"  # a home that still has it helps

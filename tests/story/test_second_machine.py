"""The machine is gone. What is left: the vault, and a sheet of paper with the recovery key."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.testing.trees import picture
from tests.story.shop import assert_same, build_shop, ruin
from tests.user import User

RESCUE = Path(__file__).resolve().parents[2] / "rescue.py"


def _other(user: User, name: str = "other") -> User:
    """Somebody else's home, or a new one, with the same vault."""
    return User(user.folder, home=user.folder / name, vault=user.vault)


def _key(user: User, text: str) -> Path:
    path = user.folder / "kit"
    path.write_text(text)
    return path


def test_another_machine_brings_everything_back(tmp_path: Path) -> None:
    """It joins by recovery key, keeps the key, and needs nothing else: points say what the service was."""
    user, shop = User(tmp_path), build_shop(tmp_path / "shop")
    good = picture(shop)
    key = _key(user, user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", shop)
    point = user.protects()["id"]
    shutil.rmtree(user.home)
    shutil.rmtree(shop)

    new = _other(user)
    words = ("init", "--vault", user.vault, "--join", "--no-passphrase", "--recovery-key-file", key)
    assert "joined" in new.types(*words).out
    assert new.points() == [point]
    new.types("recover", "shop")
    assert_same(shop, good)


def test_a_machine_that_keeps_no_key(tmp_path: Path) -> None:
    """It sees that there is something, and reads it with the passphrase or the key of the kit."""
    user, data = User(tmp_path), tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("content")
    (tmp_path / "pass").write_text("a passphrase\n")
    kit = user.asks("init", "--vault", user.vault, "--passphrase-file", tmp_path / "pass")
    key = _key(user, kit["recovery_key"])
    user.does("service", "add", "shop", "--files", data)
    user.protects("shop", "--name", "first")

    new = _other(user)
    new.does("init", "--vault", user.vault, "--join", "--recovery-key-file", key)
    assert [each.name for each in (new.home / "keys").iterdir()] == ["writer.key"]
    blind = new.asks("points", "shop")
    assert blind["points"] == []
    assert "take the private key" in blind["warnings"][0]
    assert new.asks("vault", "status")["nameless_points"] == 1
    new.does("cat", "shop", "file", status=5)
    assert new.does("cat", "shop", "file", "--at", "first", "--recovery-key-file", key).out == "content"
    assert len(new.points()) == 1  # what was learnt once stays known


def test_points_with_the_key_at_hand(tmp_path: Path) -> None:
    """Listing names takes it once."""
    user, data = User(tmp_path), tmp_path / "data"
    data.mkdir()
    key = _key(user, user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", data)
    user.protects()
    new = _other(user)
    new.does("init", "--vault", user.vault, "--join", "--recovery-key-file", key)
    assert len(new.points("shop", "--recovery-key-file", str(key))) == 1


def test_two_machines_share_a_vault(tmp_path: Path) -> None:
    """Each makes its points; what one has stored, the other need not; both see all, and can clean up beside it."""
    user, shop = User(tmp_path), build_shop(tmp_path / "shop")
    key = _key(user, user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", shop)
    user.protects()
    new = _other(user)
    new.does("init", "--vault", user.vault, "--join", "--no-passphrase", "--recovery-key-file", key)
    copy = tmp_path / "copy"
    shutil.copytree(shop / "uploads", copy)
    new.does("service", "add", "copy", "--files", copy)
    point = new.protects("copy")
    assert point["bytes"] > 5_000_000
    assert point["new_bytes"] < 20_000
    assert user.points("copy") == [point["id"]]
    user.does("tidy")
    new.does("vault", "check", "--read-data")


def test_joining_with_the_wrong_words(tmp_path: Path) -> None:
    """Nothing is set up when the vault is not there, or the key is of another one."""
    user = User(tmp_path)
    user.does("init", "--vault", user.vault, "--no-passphrase")
    stranger = User(tmp_path / "stranger")
    key = _key(user, stranger.asks("init", "--vault", stranger.vault, "--no-passphrase")["recovery_key"])
    new = _other(user)
    nowhere = new.does("init", "--vault", tmp_path / "nowhere", "--join", "--recovery-key-file", key, status=4)
    assert "there is no vault at" in nowhere.err
    assert not (tmp_path / "nowhere").exists()
    new.does("init", "--vault", user.vault, "--join", "--recovery-key-file", key, status=5)
    answer = new.does("init", "--vault", user.vault, "--join", status=5)
    assert "--recovery-key-file" in answer.next
    assert "knowngood init" in new.does("vault", "status", status=4).next


def test_making_a_vault_where_there_is_one(tmp_path: Path) -> None:
    """Neither in the same home nor in the same folder; what is there stays as it is."""
    user = User(tmp_path)
    user.does("init", "--vault", user.vault, "--no-passphrase")
    again = user.does("init", "--vault", tmp_path / "second", "--no-passphrase", status=1)
    assert "already uses the vault" in again.err
    assert not (tmp_path / "second").exists()
    new = _other(user)
    there = new.does("init", "--vault", user.vault, "--no-passphrase", status=1)
    assert "--join" in there.next
    user.does("vault", "check")


@pytest.mark.parametrize("words", [("--passphrase-file", "nowhere"), ("--passphrase-file", "empty"), ()])
def test_init_without_a_passphrase_to_use(words: tuple[str, ...], tmp_path: Path) -> None:
    """No vault is made, and the next try finds nothing in its way."""
    user = User(tmp_path)
    (tmp_path / "empty").touch()
    named = [str(tmp_path / word) if number else word for number, word in enumerate(words)]
    in_process = user.does("init", "--vault", user.vault, *named, status=4 if "nowhere" in words else 2)
    assert in_process.err
    assert not user.vault.exists()
    user.does("init", "--vault", user.vault, "--no-passphrase")


def test_rescue_without_this_program(tmp_path: Path) -> None:
    """The single file rescue.py needs the vault's folder and the recovery key; not even the index."""
    user, shop = User(tmp_path), build_shop(tmp_path / "shop")
    key = _key(user, user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    user.does("service", "add", "shop", "--files", shop)
    good = picture(shop)
    point = user.protects()["id"]
    ruin(shop)
    user.protects()
    for lost in (user.home, user.vault / "index", user.vault / "epochs"):
        shutil.rmtree(lost, ignore_errors=True)
    words = (sys.executable, "-I", RESCUE, user.vault, "--recovery-key-file", key)
    listed = subprocess.run([*words, "list"], check=True, capture_output=True, text=True).stdout
    assert next(line.split()[0] for line in listed.splitlines()) == point
    subprocess.run([*words, "restore", point[:8], "--to", tmp_path / "out"], check=True, capture_output=True)
    assert_same(tmp_path / "out" / "shop", good)

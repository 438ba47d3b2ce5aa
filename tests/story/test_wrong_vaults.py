"""The vault is not there, is no vault, is of a newer make, belongs to somebody else, or cannot be written to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from knowngood.testing.trees import picture
from tests.loops import Mounts
from tests.story.shop import assert_same, build_shop
from tests.user import User

COMMANDS = ("protect shop", "points shop", "ls shop", "recover shop", "tidy", "vault status", "vault check")


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With one point."""
    data, user = tmp_path / "data", User(tmp_path)
    data.mkdir()
    (data / "file").write_text("content")
    user.begins("shop", data)
    user.protects()
    return user


def _rewrite(user: User, **changes: object) -> None:
    """Both copies of the descriptor, with right checksums."""
    for name in ("vault.json", "vault.copy.json"):
        path = user.vault / name
        document = json.loads(path.read_text()) | changes
        del document["checksum"]
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        path.write_text(json.dumps(document | {"checksum": blake3(text.encode()).hexdigest()}))


def _unmounted(user: User) -> None:
    shutil.rmtree(user.vault)
    user.vault.mkdir()  # the empty folder where a disk should be mounted


def _anothers(user: User) -> None:
    stranger = User(user.folder / "stranger")
    stranger.does("init", "--vault", stranger.vault, "--no-passphrase")
    shutil.rmtree(user.vault)
    stranger.vault.rename(user.vault)


WAYS: dict[str, tuple[Callable[[User], object], int, str]] = {
    "gone": (lambda user: shutil.rmtree(user.vault), 4, "is its disk mounted?"),
    "not mounted": (_unmounted, 4, "is its disk mounted?"),
    "newer": (lambda user: _rewrite(user, format=2), 1, "install a newer knowngood"),
    "somebody else's": (_anothers, 5, "init --join"),
    "no vault": (lambda user: _rewrite(user, magic="something else"), 6, ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_command_goes_on(way: str, user: User) -> None:
    """Each ends with the right status and the next step; nothing is made where the vault should be."""
    spoil, status, hint = WAYS[way]
    spoil(user)
    before = sorted(user.vault.rglob("*"))
    for words in COMMANDS:
        error = user.does(*words.split(), "--json", status=status).error
        assert hint in error["hint"], words
    assert sorted(user.vault.rglob("*")) == before
    assert user.does("doctor", status=1).out.startswith("! ")


def test_a_feature_of_the_future(user: User) -> None:
    """A vault may forbid just one thing to those who do not know better: the others go on."""
    _rewrite(user, features={"read": [], "write": ["journal"], "delete": ["journal"], "check": []})
    for words in ("protect shop", "tidy", "vault collect"):
        error = user.does(*words.split(), "--json", status=1).error
        assert (error["code"], error["hint"]) == ("unsupported", "install a newer knowngood")
        assert "journal" in error["message"]
    user.does("recover", "shop", "--to", user.folder / "out")
    user.does("vault", "check")


def test_one_copy_of_the_descriptor_is_enough(user: User) -> None:
    """The check says which one is bad."""
    (user.vault / "vault.json").write_text("{")
    user.protects()
    findings = user.asks("vault", "check", status=6)["findings"]
    assert [each["object"] for each in findings] == ["vault.json"]


def test_a_read_only_copy(tmp_path: Path, mounts: Mounts) -> None:
    """Recovery needs no permission to write to the vault: a copy on a read-only medium is as good."""
    disk, shop = mounts.make("ext4", 64), build_shop(tmp_path / "shop")
    user = User(tmp_path, vault=disk / "vault")
    user.begins("shop", shop)
    good = picture(shop)
    user.protects()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    user.does("recover", "shop", "--to", tmp_path / "out")
    assert_same(tmp_path / "out" / "shop", good)
    user.does("ls", "shop")
    user.does("vault", "check")
    answer = user.does("protect", "shop", status=1)
    assert "read-only" in answer.err.lower()
    new = User(tmp_path, home=tmp_path / "new", vault=user.vault)
    key = tmp_path / "kit"
    key.write_text(user.asks("vault", "keys", "kit")["recovery_key"])
    new.does("init", "--vault", user.vault, "--join", "--no-passphrase", "--recovery-key-file", key)
    new.does("recover", "shop", "--to", tmp_path / "new out")
    assert_same(tmp_path / "new out" / "shop", good)


@pytest.mark.parametrize("what", ["config.yaml", "services/shop.yaml"])
def test_a_file_of_the_home_is_wrong(what: str, user: User) -> None:
    """The place is named."""
    (user.home / what).write_text("vualt: [\n")
    error = user.does("protect", "shop", "--json", status=2).error
    assert what in error["message"]


def test_a_home_that_anybody_can_write_to(user: User) -> None:
    """Somebody could put keys of his own there."""
    user.home.chmod(0o777)
    answer = user.does("protect", "shop", status=2)
    assert answer.next == f"chmod 700 {user.home}"


def test_the_vault_path_is_a_file(tmp_path: Path) -> None:
    """Nothing is overwritten."""
    (tmp_path / "file").write_text("mine")
    user = User(tmp_path)
    answer = user.does("init", "--vault", tmp_path / "file", "--no-passphrase", status=2)
    assert str(tmp_path / "file") in answer.err
    assert (tmp_path / "file").read_text() == "mine"
    assert not os.path.exists(user.home / "keys" / "writer.key")

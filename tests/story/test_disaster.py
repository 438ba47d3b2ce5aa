"""The machine is lost, and its home with it. A new machine, the vault, and a sheet of paper: docs/disaster.md, word
for word."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from knowngood.control.workshop import Workshop
from knowngood.testing.trees import Picture
from tests.story.shop import assert_same
from tests.user import User

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "disaster.md"


@pytest.fixture
def lost(tmp_path: Path, shop: Path, good: Picture) -> User:
    """A user whose machine is gone. Somewhere there is a kit."""
    user = User(tmp_path)
    kit = user.asks("init", "--vault", user.vault, "--no-passphrase")
    (tmp_path / "kit.txt").write_text(kit["recovery_key"] + "\n")
    user.does("service", "add", "shop", "--files", shop, "--exclude", "*.tmp")
    user.does("policy", "set", "shop", "daily=90d")
    user.protects()
    shutil.rmtree(user.home)
    shutil.rmtree(shop)
    return user


def _new(user: User) -> User:
    return User(user.folder, home=user.folder / "new home", vault=user.vault)


def _joins(user: User, *words: str) -> User:
    new = _new(user)
    new.does("init", "--vault", user.vault, "--join", "--recovery-key-file", user.folder / "kit.txt", *words)
    return new


def test_the_document_brings_everything_back(lost: User, shop: Path, good: Picture) -> None:
    """Every command of its first section, typed as it stands there."""
    first = DOCUMENT.read_text().split("\n## ")[1]
    commands = re.findall(r"^\$ knowngood (.*)$", first, re.MULTILINE)
    assert len(commands) >= 6
    new = _new(lost)
    for command in commands:
        words = [each.replace("/backup/vault", str(lost.vault)) for each in shlex.split(command)]
        words = [str(lost.folder / each) if each == "kit.txt" else each for each in words]
        new.types(*words)
        if words[0] == "recover" and "--yes" in words:
            assert_same(shop, good)
    assert len(new.points()) == 2
    service = new.asks("service", "show", "shop")["service"]
    assert service["components"][0]["exclude"] == ["*.tmp"]
    assert service["policy"]["keep"]["daily"] == 90 * 86400


def test_joining_and_listing_say_what_is_next(lost: User) -> None:
    """Whoever has only the screen to go by finds the way."""
    told = _joins(lost, "--no-passphrase").does("service", "list").out
    assert "knowngood service adopt NAME, or --all" in told
    assert "shop of " in told
    fixes = [each["fix"] for each in _new(lost).asks("doctor", status=1)["findings"]]
    assert "knowngood service adopt --all" in fixes
    again = _new(lost).does("init", "--join", "--no-passphrase", "--recovery-key-file", lost.folder / "kit.txt").out
    assert "knowngood service adopt --all\n" in again


def test_a_machine_that_keeps_no_key(lost: User, shop: Path) -> None:
    """It gives the key for the definitions, and they stay known."""
    new = _joins(lost)
    assert new.asks("service", "list")["offered"] == []
    new.does("service", "adopt", "--all", status=5)
    key = ("--recovery-key-file", lost.folder / "kit.txt")
    adopted = new.asks("service", "adopt", "shop", *key)["adopted"]
    assert [(each["change"]["action"], each["service"]["components"][0]["path"]) for each in adopted] == [
        ("create", str(shop))
    ]
    assert new.asks("service", "list")["offered"] == []


def test_nothing_is_overwritten_silently(lost: User, tmp_path: Path) -> None:
    """A definition that is here stays, unless it is said; then the former one is kept."""
    new = _joins(lost, "--no-passphrase")
    new.does("service", "add", "shop", "--files", tmp_path)
    before = (new.home / "services" / "shop.yaml").read_text()
    answer = new.does("service", "adopt", "shop", status=1)
    assert "knowngood service adopt shop --replace --dry-run" in answer.next
    assert new.asks("service", "adopt", "--all")["left"] == ["shop"]
    new.does("service", "adopt", "shop", "--replace", "--dry-run")
    assert (new.home / "services" / "shop.yaml").read_text() == before
    assert new.asks("service", "adopt", "shop", "--replace")["adopted"][0]["change"]["action"] == "change"
    assert [each.read_text() for each in (new.home / "former" / "shop").iterdir()] == [before]
    assert new.asks("service", "adopt", "shop")["adopted"][0]["change"]["action"] == "none"


def test_a_file_that_cannot_be_read_is_not_overwritten(lost: User) -> None:
    """Somebody may have meant something with it."""
    new = _joins(lost, "--no-passphrase")
    (new.home / "services" / "shop.yaml").write_text("service: [")
    new.does("service", "adopt", "shop", status=1)
    assert new.asks("service", "adopt", "--all")["left"] == ["shop"]


def test_two_hosts_with_a_service_of_one_name(lost: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one is meant has to be said; that the host differs is said as well."""
    new = _joins(lost, "--no-passphrase")
    here = new.asks("service", "list")["offered"][0]["host"]
    parts = Workshop.parts
    monkeypatch.setattr(Workshop, "parts", lambda self: replace(parts(self), host="elsewhere"))
    other = User(lost.folder, home=lost.folder / "third home", vault=lost.vault)
    other.does("init", "--vault", lost.vault, "--join", "--recovery-key-file", lost.folder / "kit.txt")
    (tmp_path / "data").mkdir()
    other.does("service", "add", "shop", "--files", tmp_path / "data")
    other.protects()
    monkeypatch.undo()
    answer = new.does("service", "adopt", "--all", status=2)
    assert "elsewhere" in answer.next
    adopted = new.asks("service", "adopt", "shop", "--host", "elsewhere")
    assert adopted["adopted"][0]["service"]["components"][0]["path"] == str(tmp_path / "data")
    assert any("protected on elsewhere, this is" in each for each in adopted["warnings"])
    new.does("service", "adopt", "shop", "--host", "nowhere", status=4)
    assert new.asks("service", "adopt", "shop", "--host", here, "--replace", "--dry-run")["adopted"]


@pytest.mark.parametrize("words", [(), ("shop", "--all")])
def test_names_or_all(words: tuple[str, ...], lost: User) -> None:
    """One of the two."""
    _joins(lost, "--no-passphrase").does("service", "adopt", *words, status=2)


def test_a_name_that_no_point_describes(lost: User) -> None:
    """The one that may have been meant is said."""
    new = _joins(lost, "--no-passphrase")
    assert "shop" in new.does("service", "adopt", "shpo", status=4).next


def test_a_vault_without_points(tmp_path: Path) -> None:
    """Offers nothing, and says what to do instead."""
    user = User(tmp_path)
    user.begins()
    assert "service add" in user.does("service", "adopt", "--all", status=4).next


def test_listing_while_the_vault_is_away(lost: User) -> None:
    """Its disk is not mounted: what this machine knows is listed all the same."""
    new = _joins(lost, "--no-passphrase")
    new.does("service", "adopt", "--all")
    lost.vault.rename(lost.folder / "away")
    listed = new.asks("service", "list")
    assert [each["name"] for each in listed["services"]] == ["shop"]
    assert len(listed["warnings"]) == 1

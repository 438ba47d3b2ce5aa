"""What the commands that set up and look after a vault say to people, and how they end."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knowngood.doors.cli import opening
from knowngood.seal.keys import PassphraseLock, parse_recovery_text
from knowngood.stores.disk import DiskStore
from knowngood.testing.logs import TIMELINE, records
from knowngood.vault.catalog import Catalog
from knowngood.vault.log_writer import LogWriter
from knowngood.vault.unlock import unlock_with_recovery_key, writer_key
from knowngood.vault.vault import open_vault
from tests.user import User


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a file."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_bytes(b"content" * 1000)
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a vault, a service, and one point."""
    user = User(tmp_path)
    user.begins("shop", data)
    user.protects("shop", "--name", "first")
    return user


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretching one takes long on purpose; here it would only be waited for."""
    monkeypatch.setattr(PassphraseLock.__init__, "__defaults__", (1, 1, 64))


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Who is asked for a secret types these, in this order."""
    answers: list[str] = []
    monkeypatch.setattr(opening, "getpass", lambda *_: answers.pop(0))
    yield lambda *words: answers.extend(words)
    assert answers == [], "nobody asked for these"


# --------------------------------------------------------------------------------------------------------------- init


def test_init_prints_the_kit(tmp_path: Path) -> None:
    """Also with --quiet: it is what was asked for. Its key is told nowhere else."""
    user = User(tmp_path)
    lines = user.does("init", "--vault", user.vault, "--no-passphrase", "--quiet").out.splitlines()
    assert lines[0].startswith("RECOVERY KIT")
    assert f"vault         {user.vault}" in lines
    assert any(re.fullmatch(r"recovery key  ([A-Z2-7]{4}-){13}[A-Z2-7]{4}", line) for line in lines)
    assert f"  knowngood init --vault {user.vault} --join --recovery-key-file FILE" in lines
    assert "The key is also kept on this machine, so that recovery asks for nothing." in lines


def test_init_without_a_vault_named(tmp_path: Path) -> None:
    """It lies in the home then."""
    user = User(tmp_path)
    assert user.asks("init", "--no-passphrase")["vault"] == str(user.home / "vault")


def test_init_with_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found again from anywhere."""
    monkeypatch.chdir(tmp_path)
    user = User(tmp_path)
    user.does("init", "--vault", "here/../there", "--no-passphrase")
    monkeypatch.chdir("/")
    assert user.asks("vault", "status")["location"] == str(tmp_path / "there")


def test_init_asks_twice(tmp_path: Path, secrets: Callable[..., None]) -> None:
    """And the vault opens with what was typed."""
    user = User(tmp_path)
    secrets("secret", "secret")
    assert "The vault also opens with its passphrase." in user.does("init", "--vault", user.vault, typed="").out
    secrets("secret")
    assert "recovery key" in user.does("vault", "keys", "kit", typed="").out


@pytest.mark.parametrize(("answers", "hint"), [(("one", "two"), "run the command again"), (("",), "--no-passphrase")])
def test_init_typed_badly(answers: tuple[str, ...], hint: str, tmp_path: Path, secrets: Callable[..., None]) -> None:
    """Nothing is made."""
    user = User(tmp_path)
    secrets(*answers)
    assert hint in user.does("init", "--vault", user.vault, status=2, typed="").next
    assert not user.vault.exists()


def test_join_says_so(user: User, tmp_path: Path) -> None:
    """And what is next: with the key once more, or without it where it is kept."""
    key = tmp_path / "key"
    key.write_text(user.asks("vault", "keys", "kit")["recovery_key"])
    other = User(tmp_path, home=tmp_path / "other")
    told = other.does("init", "--vault", user.vault, "--join", "--recovery-key-file", key)
    next_one = "next, to have its services here: knowngood service adopt --all"
    assert told.out == f"joined the vault {user.vault}\n{next_one} --recovery-key-file FILE\n"
    told = other.does("init", "--join", "--no-passphrase", "--recovery-key-file", key)
    assert told.out == f"joined the vault {user.vault}\n{next_one}\n"


# -------------------------------------------------------------------------------------------------------------- vault


def test_status(user: User) -> None:
    """A line for each thing to know."""
    lines = dict(line.split(None, 1) for line in user.does("vault", "status").out.splitlines())
    assert lines["vault"] == str(user.vault)
    assert lines["points"] == "1, and 0 hidden"
    assert lines["reserve"] == "16.0 MiB"
    assert lines["read"] == "back  never; run: knowngood vault check --read-data"
    user.does("vault", "check", "--read-data")
    assert "of 2 packs; the one read longest ago" in user.does("vault", "status").out


def test_check(user: User) -> None:
    """Says what was looked at; nothing with --quiet."""
    assert user.does("vault", "check").out.splitlines() == ["1 point, 1 page checked", "nothing is wrong"]
    assert "2 packs read (" in user.does("vault", "check", "--read-data").out
    assert user.does("vault", "check", "--quiet").out == ""
    some = user.asks("vault", "check", "--limit", "1")
    assert some["read_packs"] == 1
    user.does("vault", "check", "--limit", "some", status=2)


def test_check_of_a_damaged_vault(user: User) -> None:
    """Status 6, also with --quiet; what is hurt is said with its service."""
    pack = max((each for each in (user.vault / "packs").rglob("*") if each.is_file()), key=lambda x: x.stat().st_size)
    raw = bytearray(pack.read_bytes())
    raw[-20] ^= 1
    pack.write_bytes(raw)
    answer = user.does("vault", "check", "--read-data", "--quiet", status=6)
    assert answer.out == ""
    assert f"pack packs/{pack.parent.name}/{pack.name}: its bytes are not those that were written" in answer.err
    findings = user.does("doctor", status=1).out
    assert "! a check found damage; what is at its source can be stored again\n    knowngood protect shop" in findings
    assert "what a check had found damaged was stored again" in user.does("protect", "shop").out
    assert user.asks("protect", "shop")["forgotten"] == 0
    assert "damage was found, and stored again as far as it could be" in user.does("doctor", status=1).out
    assert "damage that nothing leads to is left in 1 pack;" in user.does("vault", "check", "--read-data").out
    assert user.asks("vault", "status")["bad_packs"] == 0
    assert "knowngood vault collect" in user.does("doctor").out
    user.does("vault", "collect")
    assert user.asks("vault", "status")["spent_packs"] == 0


def test_a_log_in_the_vault(tmp_path: Path) -> None:
    """It is counted; damage to it is said by its moments, and found by its names where a key is given."""
    user, key = User(tmp_path), tmp_path / "key"
    key.write_text(user.asks("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    store = DiskStore(user.vault)
    private = unlock_with_recovery_key(store, parse_recovery_text(key.read_text()))
    vault, catalog = open_vault(store, writer_key(store, private)), Catalog(":memory:")
    with vault.session("follow", timelines=(TIMELINE,)) as session:
        log = LogWriter(vault, session, catalog, TIMELINE)
        for number in range(2):
            log.append(records(random.Random(1), number, 1))
            log.commit()
    catalog.close()
    assert "1, in 2 segments" in user.does("vault", "status").out
    checked = user.asks("vault", "check", "--recovery-key-file", key)
    assert (checked["segments"], checked["findings"]) == (2, [])
    for segment in (user.vault / "segments").glob("*/*"):
        segment.unlink()
    first, second = user.asks("vault", "check", status=6)["findings"]
    assert (first["timelines"], first["after"]) == ([TIMELINE.hex()], None)
    assert second["after"] == first["until"] < second["until"]
    told = user.does("vault", "check", status=6).err
    assert "affects changes that came after the beginning, until 20" in told


def test_rebuild(user: User, tmp_path: Path) -> None:
    """What it made, in a line; a wrong key is told before the work begins."""
    told = user.does("vault", "rebuild").out
    assert re.fullmatch(r"index of \d names? from 2 packs; catalog of 1 point\n", told)
    assert user.does("vault", "rebuild", "--quiet").out == ""
    stranger = User(tmp_path / "stranger")
    (tmp_path / "key").write_text(stranger.asks("init", "--no-passphrase")["recovery_key"])
    user.does("vault", "rebuild", "--recovery-key-file", tmp_path / "key", status=5)


def test_rebuild_keeps_what_was_read_back(user: User) -> None:
    """That is in no commit."""
    user.does("vault", "check", "--read-data")
    user.does("vault", "rebuild")
    assert user.asks("vault", "status")["read_packs"] == 2


def test_rebuild_mends_small_objects(user: User) -> None:
    """From their copies."""
    (user.vault / "vault.json").unlink()
    assert "vault.json was made anew from its copy" in user.does("vault", "rebuild").out
    user.does("vault", "check")


def test_collect(user: User) -> None:
    """Nothing to do; a plan; the real thing."""
    assert user.does("vault", "collect").out == "0 B freed: 0 packs deleted, 0 B copied\n"
    assert user.does("vault", "collect", "--dry-run").out.startswith("0 B would be freed")
    assert user.does("vault", "collect", "--quiet").out == ""


def test_collect_now(user: User) -> None:
    """Hidden points go for ever, once somebody has said so."""
    user.protects()
    user.does("expire", "shop", "first")
    asked = user.does("vault", "collect", "--now", typed="n\n")
    assert asked.err.startswith("delete 1 hidden point for ever? [y/N] ")
    assert len(user.points("shop", "--expired")) == 1
    user.does("vault", "collect", "--now", "--yes", typed="")
    assert user.points("shop", "--expired") == []


def test_reserve(user: User) -> None:
    """What is kept back now."""
    assert user.does("vault", "reserve", "8M").out == "8.0 MiB are kept back\n"
    assert user.does("vault", "reserve", "lots", status=2).next == "write a size such as 500M or 20GiB"
    assert "- the vault keeps no space back" not in user.does("doctor").out
    user.does("vault", "reserve", "0")
    assert "- the vault keeps no space back for cleaning up\n    knowngood vault reserve 16M" in user.does("doctor").out


# --------------------------------------------------------------------------------------------------------------- keys


def test_keys_show(user: User) -> None:
    """Where the private half is."""
    out = user.does("vault", "keys", "show").out
    assert re.match(r"[0-9a-f]{16}  private half: not in the vault\n", out)
    assert f"the private key is kept on this machine: {user.home}/keys/unlocking.key" in out


def test_keys_that_are_typed(user: User, secrets: Callable[..., None]) -> None:
    """The new passphrase twice; then the private key leaves the home, and reading asks."""
    secrets("new", "new")
    told = user.does("vault", "keys", "passphrase", typed="").out
    assert told == "done; the recovery key is the same as before\n"
    assert not (user.home / "keys" / "unlocking.key").exists()
    secrets("new")
    assert user.does("cat", "shop", "file", typed="").raw == b"content" * 1000
    secrets("wrong")
    user.does("cat", "shop", "file", status=5, typed="")


def test_keys_kit_with_quiet(user: User) -> None:
    """It is the answer."""
    assert "recovery key" in user.does("vault", "keys", "kit", "--quiet").out
    rotated = user.does("vault", "keys", "rotate", "--no-passphrase", "--quiet").out
    assert rotated.startswith("RECOVERY KIT")


def test_a_group_without_a_command(user: User) -> None:
    """Its help."""
    for words in (("vault",), ("vault", "keys")):
        answer = user.does(*words, status=2)
        assert "Usage" in answer.out


# ------------------------------------------------------------------------------------------------------------- doctor


def test_doctor_when_all_is_well(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grave findings come first; none is a line, and nothing with --quiet."""
    out = user.does("doctor").out
    assert out.startswith("- ")
    assert "knowngood vault keys passphrase" in out
    monkeypatch.setattr("knowngood.doors.cli.commands.doctor.examine", lambda _: [])
    assert user.does("doctor").out == "all is well\n"
    assert user.does("doctor", "--quiet").out == ""


def test_doctor_at_the_very_beginning(tmp_path: Path) -> None:
    """The next step is named."""
    answer = User(tmp_path).does("doctor", status=1)
    assert "knowngood init" in answer.out


def test_doctor_finds_rights_and_old_points(user: User) -> None:
    """And says the command that mends each."""
    from knowngood.testing.clock import DAY, FakeClock

    key = user.home / "keys" / "unlocking.key"
    key.chmod(0o644)
    with FakeClock() as clock:
        clock.move(90 * DAY)
        findings = user.asks("doctor", status=1)["findings"]
    by_fix = {each["fix"]: each for each in findings}
    assert by_fix[f"chmod go= {key}"]["grave"]
    assert "is 90 d old" in by_fix["knowngood protect shop"]["what"]
    assert not by_fix["knowngood vault check --read-data"]["grave"]

"""Files that cannot be read, that vanish or grow while they are read: the rest is protected, and the answer says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from knowngood.core.buffers import Buffer
from knowngood.core.ids import Name
from knowngood.vault.ingest import Ingest
from tests.user import User

_NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
"""Even root has to keep to the rights of files then."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder to protect."""
    folder = tmp_path / "data"
    (folder / "below").mkdir(parents=True)
    for name in ("a", "b", "below/c", "z"):
        (folder / name).write_bytes(name.encode() * 300)
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service and no point yet."""
    user = User(tmp_path)
    user.begins("shop", data)
    return user


@pytest.mark.needs("setpriv")
def test_unreadable_files(user: User, data: Path, tmp_path: Path) -> None:
    """Status 3, a warning for each, a point that is marked incomplete, and everything else in it."""
    (data / "b").chmod(0)
    (data / "below").chmod(0)
    prefix = _NO_OVERRIDE if os.geteuid() == 0 else ()
    answer = user.types("protect", "shop", status=3, prefix=prefix)
    assert "2 things could not be read as it should; the rest is protected" in answer.err
    assert "data: b: permission denied" in answer.err
    document = user.types("protect", "shop", "--json", status=3, prefix=prefix)
    assert document.err == ""
    assert document.json["point"]["status"] == "incomplete"
    assert {each["path"] for each in document.json["problems"]} == {"b", "below"}
    (data / "b").chmod(0o600)
    (data / "below").chmod(0o700)
    assert "incomplete" in user.types("points", "shop").out
    user.does("recover", "shop", "--to", tmp_path / "out")
    out = tmp_path / "out" / "data"
    assert sorted(each.name for each in out.iterdir()) == ["a", "below", "z"]
    assert (out / "z").read_bytes() == b"z" * 300

    user.types("protect", "shop")  # now that they can be read
    assert user.does("cat", "shop", "below/c").raw == b"below/c" * 300


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets something happen when the first file has been read, before the next is opened."""

    def arrange(event: Callable[[], object]) -> None:
        add, left = Ingest.add, [event]

        def adding(self: Ingest, data: Buffer) -> Name:
            if left:
                left.pop()()
            return add(self, data)

        monkeypatch.setattr(Ingest, "add", adding)

    return arrange


def test_a_file_that_vanishes(user: User, data: Path, while_reading: Callable[[Callable[[], object]], None]) -> None:
    """It was there when the folder was listed."""
    while_reading((data / "z").unlink)
    document = user.asks("protect", "shop", status=3)
    assert [(each["component"], each["path"]) for each in document["problems"]] == [("data", "z")]
    listed = user.asks("ls", "shop", "-r")["entries"]
    assert [each["path"] for each in listed] == ["a", "b", "below", "below/c"]
    assert user.protects()["status"] == "recoverable"


def test_a_file_that_never_holds_still(user: User, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that grows whenever it is looked at: it is kept as far as it was read, and read again next time."""
    log = data / "log"
    log.write_bytes(b"line\n" * 1000)
    add = Ingest.add

    def growing(self: Ingest, chunk: Buffer) -> Name:
        with log.open("ab") as file:
            file.write(b"line\n")
        return add(self, chunk)

    with monkeypatch.context() as patched:
        patched.setattr(Ingest, "add", growing)
        document = user.asks("protect", "shop", status=3)
    assert [each["path"] for each in document["problems"]] == ["log"]
    kept = user.does("cat", "shop", "log").raw
    assert len(kept) >= 5000
    assert set(kept.splitlines()) == {b"line"}
    assert user.protects()["status"] == "recoverable"
    assert user.does("cat", "shop", "log").raw == log.read_bytes()


def test_the_component_is_gone(user: User, data: Path) -> None:
    """No empty point is made of a disk that is not mounted: the last good one stays the newest."""
    point = user.protects()["id"]
    data.rename(data.with_name("elsewhere"))
    answer = user.does("protect", "shop", status=2)
    assert str(data) in answer.err
    assert user.points() == [point]
    assert any(str(data) in each["what"] for each in user.asks("doctor", status=1)["findings"])
    user.does("recover", "shop")
    assert (data / "below" / "c").exists()


def test_the_component_became_something_else(user: User, data: Path, tmp_path: Path) -> None:
    """A pipe in the place of a folder is refused, and nobody waits for its other end."""
    data.rename(tmp_path / "elsewhere")
    os.mkfifo(data)
    user.does("protect", "shop", status=2)


def test_the_vault_is_no_part_of_a_service(tmp_path: Path) -> None:
    """Not even when it lies inside of one: it would grow for ever."""
    user = User(tmp_path / "srv" / "backup")
    (tmp_path / "srv" / "data").mkdir(parents=True)
    (tmp_path / "srv" / "data" / "file").write_text("content")
    user.begins("shop", tmp_path / "srv")
    user.protects()
    paths = {each["path"] for each in user.asks("ls", "shop", "-r")["entries"]}
    assert "data/file" in paths
    assert not any(path.startswith("backup/vault/") for path in paths)
    user.does("service", "add", "vault", "--files", user.vault)
    assert "vault itself" in user.does("protect", "vault", status=2).err

"""A log in the vault is hurt: the commands say what is lost, do not promise to heal it, and go on with all else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.control.home import Home
from knowngood.control.plugins import Plugins
from knowngood.control.up.events import Event, What
from knowngood.control.up.keeper import Keeper
from knowngood.control.workshop import Workshop
from knowngood.plugins import PLUGINS
from knowngood.testing.logs import records
from knowngood.testing.vaults import move_away
from knowngood.vault.layout import SEGMENTS
from knowngood.vault.log_writer import LogWriter
from tests.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """With a service and a point."""
    user = User(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("content")
    user.begins("shop", tmp_path / "data")
    user.protects()
    return user


@pytest.fixture
def shop(user: User) -> Iterator[Workshop]:
    """The vault, from another process's side."""
    shop = Workshop(Home.at(str(user.home)), PLUGINS)
    yield shop
    shop.close()


@pytest.fixture
def timeline(shop: Workshop) -> bytes:
    """That of the one component."""
    return shop.catalog.points("shop")[0].marks[0].timeline


@pytest.fixture
def segment(shop: Workshop, timeline: bytes, user: User) -> Path:
    """Where the one segment of its log lies."""
    with shop.vault.session("follow", timelines=(timeline,)) as session:
        writer = LogWriter(shop.vault, session, shop.catalog, timeline)
        writer.append(records(random.Random(1), 0, 5))
        writer.commit()
    (found,) = shop.store.list(SEGMENTS)
    return Path(user.vault) / found.key


def test_a_damaged_segment(user: User, segment: Path, timeline: bytes) -> None:
    """The check names timeline and moments. Nothing sends anybody round in circles."""
    assert user.asks("vault", "check", "--read-data")["findings"] == []
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.chmod(0o600)
    segment.write_bytes(data)
    for _ in range(2):
        found = user.asks("vault", "check", "--read-data", status=6)
        assert [(each["what"], each["lasting"]) for each in found["findings"]] == [("pack", True), ("segment", True)]
        assert found["findings"][1]["timelines"] == [timeline.hex()]
        assert found["spent_packs"] == []
        told = user.does("vault", "check", status=0)  # which reads no bytes
        assert "knowngood protect" not in told.out
        told = user.does("doctor", status=1)
        assert "knowngood protect" not in told.out
        assert "1 packs were damaged when last read" in told.out
        assert user.asks("protect", "shop")["forgotten"] == 0


def test_a_lost_segment_hinders_collecting_and_nothing_else(user: User, segment: Path) -> None:
    segment.unlink()
    told = user.does("tidy", status=6)
    assert "nothing is collected" in told.err
    assert "the log of shop, " in told.err
    assert user.asks("protect", "shop")["point"]["status"] == "recoverable"


def test_the_keeper_says_so_once(user: User, segment: Path) -> None:
    """It tidied; that nothing is collected is a trouble until it is over."""
    segment.unlink()
    (user.home / "tidied").write_text("0")  # long ago: it is due at once
    events: list[Event] = []
    keeper: list[Keeper] = []

    def tell(event: Event) -> None:
        events.append(event)
        if event.what == What.TROUBLE:
            keeper[0].stop()

    keeper.append(Keeper(Home.at(str(user.home)), Plugins(store=PLUGINS.store, kinds=PLUGINS.kinds), tell))
    keeper[0].run()
    told = {each.what: each for each in events}
    assert told[What.TIDIED].message == "0 points hidden, 0 bytes freed"
    assert told[What.TROUBLE].code == "damaged"
    assert "nothing is collected" in told[What.TROUBLE].message


def test_a_writer_of_a_log_that_went_away(user: User, shop: Workshop, timeline: bytes) -> None:
    """Nobody else continues its log until somebody says that it is over."""
    with shop.vault.session("follow", timelines=(timeline,)) as session:
        move_away(shop.store, session)
        (one,) = user.asks("vault", "sessions")["sessions"]
        assert one["timelines"] == [timeline.hex()]
        assert "writes 1 log" in user.does("vault", "sessions").out
        identifier = session.id.hex()[:8]
        assert "What it wrote to logs" in user.does("vault", "sessions", "end", identifier, "--dry-run").out
        user.does("vault", "sessions", "end", identifier, "--yes")
        with shop.vault.session("follow", timelines=(timeline,)):
            pass

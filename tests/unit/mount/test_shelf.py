"""Following a vault while others look: new points, hidden ones, sessions that hold nothing up."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from knowngood.core.errors import NotFound, StoreFailed
from knowngood.core.model import Point
from knowngood.doors.mount.shelf import Shelf
from knowngood.flow.parts import Parts
from knowngood.testing.vaults import SmallVault
from knowngood.vault.session import list_sessions
from tests.mounted import until
from tests.unit.mount.kernel import beside


@pytest.mark.usefixtures("impatient")
def test_it_follows(shelf: Shelf, vault: SmallVault, point: Callable[..., Point], data: Path) -> None:
    """Points come and go; their pages can be read at once."""
    assert len(shelf.current.component(b"shop", b"data")) == 2
    (data / "new").write_bytes(b"new" * 10_000)
    made = point()
    moments = beside(shelf, shelf.listing).component(b"shop", b"data")
    assert len(moments) == 3
    assert moments[b"latest"].moment_ns == made.moment_ns
    assert shelf.page(moments[b"latest"].root)  # type: ignore[arg-type]
    vault.expire(made)
    assert len(beside(shelf, shelf.listing).component(b"shop", b"data")) == 2


def test_it_looks_once_a_second(shelf: Shelf, point: Callable[..., Point]) -> None:
    """What is younger than that is taken as it is, and nobody is asked."""
    before = shelf.current
    point()
    assert shelf.listing() is before


@pytest.mark.usefixtures("impatient")
def test_its_session_is_of_the_newest_epoch(shelf: Shelf, vault: SmallVault, point: Callable[..., Point]) -> None:
    """So a collection that began meanwhile does not wait for it; and there is one session at a time."""
    (before,) = list_sessions(vault.store)
    vault.expire(point())
    vault.collect()
    beside(shelf, shelf.listing)
    (after,) = list_sessions(vault.store)
    assert after.epoch > before.epoch
    assert after.purpose == "mount"


@pytest.mark.usefixtures("impatient")
def test_when_nothing_has_changed(shelf: Shelf, vault: SmallVault) -> None:
    """Nothing is opened anew."""
    before = list_sessions(vault.store), shelf.current
    beside(shelf, shelf.listing)
    assert (list_sessions(vault.store), shelf.current) == before


def test_one_service(parts: Parts, point: Callable[..., Point]) -> None:
    """The others are not shown."""
    point("shop")
    point("mail")
    with Shelf(parts, "mail") as shelf:
        assert list(shelf.current.services) == [b"mail"]
        with pytest.raises(NotFound):
            beside(shelf, lambda: shelf.choose(b"mail", b"other", b"now"))


def test_nobody_waits_for_one_that_has_ended(parts: Parts, point: Callable[..., Point]) -> None:
    """Whoever asks too late, or was not answered any more, is told."""
    point()

    def ask() -> None:
        with pytest.raises(StoreFailed):
            shelf.choose(b"shop", b"data", b"now")

    with ThreadPoolExecutor(1) as crew:
        with Shelf(parts) as shelf:
            asked = crew.submit(ask)
            until(lambda: not shelf._questions.empty())
        asked.result()
    ask()

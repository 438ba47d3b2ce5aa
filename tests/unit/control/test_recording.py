"""What the follower of the keeper says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.control.home import Home
from knowngood.control.services import get_service
from knowngood.control.up import recording
from knowngood.control.up.followers import Followed
from knowngood.control.up.protocol import Waiting
from knowngood.control.up.work import make_point
from knowngood.control.workshop import Workshop
from knowngood.core.errors import KnowngoodError, NotFound
from knowngood.core.instants import now_ns
from knowngood.flow.follow import Following, Ticked
from knowngood.flow.protect import protect
from knowngood.plugins import PLUGINS
from knowngood.testing.clock import FakeClock, TwoClocks
from knowngood.vault import fold as folding
from tests.loops import Mounts
from tests.story.test_full_disk import fill
from tests.user import User


def test_a_loop_that_is_kept_busy_shows(tmp_path: Path) -> None:
    """What was not looked at since the last tick is not safe, however well that went."""
    user = User(tmp_path)
    (tmp_path / "data").mkdir()
    user.begins("shop", tmp_path / "data")
    home, clocks = Home.at(str(user.home)), TwoClocks()
    service = get_service(home, "shop")
    recorder = recording.Recorder(Followed(home, service, service.components[0], lambda: None), PLUGINS)
    with patch.object(recording, "clock", clocks):
        recorder.start()
        recorder.tick(clocks())
        assert recorder.state().behind is None
        recorder._safe_at = clocks.steady
        clocks.move(600)
        assert recorder.state().behind == 600
        recorder.stop()


class Recorded:
    """A service whose folder is followed into a vault on a real disk, by clocks that a test holds in its hands."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.data = user.folder / "data"
        self.data.mkdir()
        (self.data / "file").write_text("content")
        user.begins("shop", self.data)
        self.home, self.clocks, self.wall = Home.at(str(user.home)), TwoClocks(now_ns()), FakeClock()
        self.service = get_service(self.home, "shop")
        self.recorder = recording.Recorder(
            Followed(self.home, self.service, self.service.components[0], lambda: None), PLUGINS
        )

    def protects(self) -> None:
        """A point, by the keeper."""
        following = self.recorder.following
        assert following
        shop = Workshop(self.home, PLUGINS)
        try:
            protect(self.service, shop.parts(), followed={following.component.name: following})
        finally:
            shop.close()

    def ticks(self, count: int, content: str = "") -> None:
        """So many seconds, in each of which the file is written once if there is `content`."""
        for number in range(count):
            if content:
                (self.data / "file").write_text(f"{content} {number}")
            self.recorder.tick(self.clocks())
            self.clocks.move(1)
            self.wall.move(2)  # changes within a second count as one version

    @property
    def waiting(self) -> Waiting | None:
        """What waits."""
        return self.recorder.state().waiting

    def versions(self) -> int:
        """How many versions of the file can be had."""
        return len(self.user.asks("history", "shop", "file")["versions"])


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    """It is followed, from a first point on."""
    made = Recorded(User(tmp_path))
    with _followed(made):
        yield made


@contextmanager
def _followed(made: Recorded) -> Iterator[None]:
    with made.wall, patch.object(recording, "clock", made.clocks):
        made.recorder.start()
        try:
            made.protects()
            made.ticks(1)
            yield
        finally:
            made.recorder.stop()


def test_a_vault_that_is_gone_for_a_minute(recorded: Recorded) -> None:
    """Each second of it can be had back; meanwhile it shows what waits, since when, and how long there is room."""
    assert recorded.waiting is None
    before = recorded.versions()
    since = recorded.clocks.wall_ns
    recorded.user.vault.rename(recorded.user.folder / "away")
    recorded.ticks(60, "away")
    waiting = recorded.waiting
    assert waiting
    assert (waiting.since_ns, waiting.full) == (since, False)
    assert waiting.records >= 60
    assert 0 < waiting.bytes < waiting.limit
    assert waiting.room
    assert waiting.room > 3600
    state = recorded.recorder.state()
    assert state.failure
    assert state.behind == 61
    (recorded.user.folder / "away").rename(recorded.user.vault)
    recorded.ticks(6)
    assert (recorded.waiting, recorded.recorder.state().failure) == (None, None)
    assert recorded.versions() == before + 60
    recorded.user.does("vault", "check", "--read-data")


def test_a_vault_that_is_away_from_the_beginning(recorded: Recorded) -> None:
    """It asks for a point, which cannot be made and gives a base here; before that it says that nothing is kept."""
    recorded.recorder.stop()
    recorded.user.vault.rename(recorded.user.folder / "away")
    asked: list[bool] = []
    what = Followed(recorded.home, recorded.service, recorded.service.components[0], lambda: asked.append(True))
    recorded.recorder = recording.Recorder(what, PLUGINS)
    recorded.recorder.start()
    since = recorded.clocks.wall_ns
    recorded.ticks(6, "unseen")
    state, following = recorded.recorder.state(), recorded.recorder.following
    assert following
    assert (asked, state.note) == ([True], recording._NOTHING_KEPT)
    assert state.waiting
    assert (state.waiting.since_ns, state.waiting.records) == (since, 0)
    with pytest.raises(NotFound, match="there is no vault"):
        make_point(
            recorded.home, PLUGINS, "shop", None, lambda _: None, lambda _: {following.component.name: following}
        )
    recorded.ticks(10, "waits")
    state = recorded.recorder.state()
    assert state.waiting
    assert (state.waiting.records >= 11, state.note) == (True, following.standing.reason)
    assert not recorded.user.vault.exists()
    (recorded.user.folder / "away").rename(recorded.user.vault)
    recorded.ticks(6)
    assert (recorded.waiting, recorded.recorder.state().failure) == (None, None)
    assert recorded.versions() == 2 + 10
    recorded.user.does("vault", "check", "--read-data")


def test_what_rests_is_not_safe(recorded: Recorded) -> None:
    """A large file that was not read for a while is what would be lost, however often others are recorded."""
    following = recorded.recorder.following
    assert following
    with patch.object(Following, "standing", replace(following.standing, unread=40.0)):
        recorded.ticks(3, "others")
        assert recorded.recorder.state().behind == 41
    recorded.ticks(1)
    assert recorded.recorder.state().behind == 1


def test_another_vault_in_its_place(recorded: Recorded) -> None:
    """It is not ours: nothing goes there, and all of it goes into ours once that is back."""
    before = recorded.versions()
    recorded.user.vault.rename(recorded.user.folder / "away")
    other = User(recorded.user.folder / "other", vault=recorded.user.vault)
    other.folder.mkdir()
    other.does("init", "--vault", other.vault, "--no-passphrase")
    listed = sorted(str(each) for each in other.vault.rglob("*"))
    recorded.ticks(10, "elsewhere")
    assert recorded.waiting
    failure = recorded.recorder.state().failure
    assert failure
    assert failure.code == "locked"
    assert sorted(str(each) for each in other.vault.rglob("*")) == listed
    other.vault.rename(other.folder / "vault")
    (recorded.user.folder / "away").rename(recorded.user.vault)
    recorded.ticks(6)
    assert recorded.waiting is None
    assert recorded.versions() == before + 10


def test_a_full_vault(tmp_path: Path, mounts: Mounts) -> None:
    """Somebody else has filled its disk: what changes waits until there is room."""
    made = Recorded(User(tmp_path, vault=mounts.make("ext4", 64) / "vault"))
    with _followed(made):
        before = made.versions()
        ballast = fill(made.user.vault.parent)
        made.ticks(10, "full")
        failure = made.recorder.state().failure
        assert failure
        assert failure.code == "no-space"
        assert made.waiting
        ballast.unlink()
        made.ticks(6)
        assert made.waiting is None
        assert made.versions() == before + 10
        made.user.does("vault", "check", "--read-data")


def test_a_slow_vault(recorded: Recorded) -> None:
    """It gets a part of the time; the rest belongs to looking what changes."""
    before, tick = recorded.versions(), Following.tick
    tried = 0

    def slowly(self: Following, *, away: KnowngoodError | None = None) -> Ticked:
        nonlocal tried
        if away is None:
            tried += 1
            recorded.clocks.move(10)
        return tick(self, away=away)

    with patch.object(Following, "tick", slowly):
        recorded.ticks(60, "slow")
    assert 2 <= tried <= 3
    recorded.ticks(30)
    assert recorded.waiting is None
    assert recorded.versions() == before + 60


def test_folding_as_it_goes(recorded: Recorded) -> None:
    """However long it is followed, there are few objects; and each moment can be had."""
    before = recorded.versions()
    counts = []
    with patch.object(folding, "FOLD_FROM", 8), patch.object(recording, "FOLD_FROM", 8):
        for turn in range(6):
            recorded.ticks(10, f"turn {turn}")
            counts.append(len(list(recorded.user.vault.glob("segments/*/*"))))
    assert max(counts) < 20
    assert recorded.versions() == before + 60
    recorded.user.does("vault", "check", "--read-data")


def test_after_a_change_it_looks_again_sooner(tmp_path: Path) -> None:
    """More is likely to come; when nothing does, looking costs less often."""
    user = User(tmp_path)
    (tmp_path / "data").mkdir()
    user.begins("shop", tmp_path / "data")
    home, clocks = Home.at(str(user.home)), TwoClocks()
    service = get_service(home, "shop")
    recorder = recording.Recorder(Followed(home, service, service.components[0], lambda: None), PLUGINS)
    with patch.object(recording, "clock", clocks):
        recorder.start()
        following = recorder.following
        assert following is not None
        with patch.object(following, "tick", return_value=Ticked(1)):
            assert recorder.tick(clocks()) == clocks.steady + recording.BUSY_TICK
        with patch.object(following, "tick", return_value=Ticked()):
            assert recorder.tick(clocks()) == clocks.steady + recording.TICK
        recorder.stop()

"""What is Redis' own: bases with and without a disk, WAIT, MULTI, DEBUG DIGEST, signs of life."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.log import Operation
from knowngood.core.model import ComponentSpec
from knowngood.core.progress import Progress
from knowngood.databases import inbox as inbox_module
from knowngood.databases.image import Image
from knowngood.databases.local import LocalFiles
from knowngood.kinds.files import FilesKind
from knowngood.kinds.redis import redis_kind
from knowngood.kinds.redis.address import address_of
from knowngood.kinds.redis.base import BaseStream
from knowngood.kinds.redis.feed import STREAM, RedisFeed
from knowngood.testing.memory import MemorySink
from tests.leaks import nothing_left_behind
from tests.servers.following import Following, following, open_folder
from tests.servers.redis import RedisServer, redis_server

__all__ = ["nothing_left_behind"]

_DEADLINE = 60.0


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that keeps nothing on disk."""
    with open_folder() as folder, redis_server(folder / "server") as found:
        yield found


@pytest.fixture
def followed(server: RedisServer, tmp_path: Path) -> Iterator[Following]:
    """With a base."""
    with following(redis_kind(FilesKind()), server.component, tmp_path / "state") as found:
        found.checkpoint()
        yield found


def digest(followed: Following, state: object = None) -> str:
    with followed.sandbox(state or followed.newest()) as sandbox:  # type: ignore[arg-type]
        return sandbox.ask("DEBUG DIGEST", 30)[0][0]


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_data_of_all_kinds(tmp_path: Path, diskless: str) -> None:
    """The digest of what is recovered is the server's, in base and stream, over several databases."""
    with open_folder() as folder, redis_server(folder / "server", repl_diskless_sync=diskless) as server:
        for number in range(300):
            server.ask("SET", f"key:{number}", b"\r\n\0" * number)
        kind = redis_kind(FilesKind())
        with following(kind, server.component, tmp_path / "state") as followed:
            followed.checkpoint()
            assert digest(followed) == server.digest().decode()  # type: ignore[union-attr]
            _changes(server)
            want = server.digest()
            followed.until(lambda: any(b"last" in each.data for each in followed.records))
            assert digest(followed, followed.at(len(followed.records))) == want.decode()  # type: ignore[union-attr]


def _changes(server: RedisServer) -> None:
    with closing(server.link()) as link:
        link.ask("EVAL", "redis.call('INCR', 'n') redis.call('RPUSH', 'l', 'a', 'b')", 0)
        link.ask("SELECT", 3)
        link.ask("HSET", "h", "f", b"\xff" * 70_000)
        link.ask("MULTI")
        link.ask("ZADD", "z", "1.5", "m")
        link.ask("XADD", "x", "*", "f", "v")
        link.ask("EXEC")
        link.ask("SELECT", 0)
        link.ask("DEL", "key:7")
        link.ask("SET", "last", "last")


def test_wait_returns_when_it_is_durable_and_not_earlier(server: RedisServer, followed: Following) -> None:
    """`WAIT 1` is a promise of the vault."""
    with closing(server.link()) as link:
        link.ask("SET", "a", 1)
        assert link.ask("WAIT", 1, 300) == 0  # it was received, and nobody has said that it is durable
        done: list[object] = []
        thread = threading.Thread(target=lambda: done.append(link.ask("WAIT", 1, 60_000)))
        thread.start()
        try:
            followed.follower.look()
            followed.tick(lands=False)
            thread.join(0.3)
            assert not done
            followed.until(lambda: bool(done))
        finally:
            thread.join()
    assert done == [1]
    assert any(b"SET" in each.data for each in followed.records)


def test_signs_of_life_make_no_records(tmp_path: Path) -> None:
    """A server at rest pings its replicas; what then comes is still all of it, byte by byte."""
    with open_folder() as folder, redis_server(folder / "server", repl_ping_replica_period="1") as server:
        with following(redis_kind(FilesKind()), server.component, tmp_path / "state") as followed:
            followed.checkpoint()
            feed = followed.follower._feed  # type: ignore[attr-defined]
            end = time.monotonic() + _DEADLINE
            while not feed._idle:
                assert followed.tick() == 0
                assert time.monotonic() < end
            server.ask("SET", "a", 1)
            followed.until_records()
            assert digest(followed, followed.at(len(followed.records))) == server.digest().decode()  # type: ignore[union-attr]
            assert b"ping" in b"".join(each.data for each in followed.records).lower()


def test_a_connection_that_is_cut_goes_on_without_a_gap(server: RedisServer, followed: Following) -> None:
    """By the server's backlog."""
    server.ask("SET", "a", 1)
    followed.until_records()
    server.ask("CLIENT", "KILL", "TYPE", "replica")
    server.ask("SET", "b", 2)
    followed.until_records()
    followed.checkpoint()
    assert followed.gaps == 1
    assert digest(followed) == server.digest().decode()  # type: ignore[union-attr]


def test_more_than_waits_here(server: RedisServer, followed: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the inbox does not take waits at the server; a mark behind it is reached nevertheless."""
    monkeypatch.setattr(inbox_module, "BYTES", 100_000)
    server.ask("CLIENT", "KILL", "TYPE", "replica")
    followed.tick()
    for number in range(40):
        server.ask("SET", f"k{number}", b"x" * 50_000)
    holder = followed.follower.standing.holder
    assert holder
    holder.hold(10)
    want = server.digest()
    holder.mark()
    assert holder.release()
    server.ask("SET", "later", 1)
    followed.checkpoint()
    assert digest(followed) == want.decode()  # type: ignore[union-attr]
    assert followed.gaps == 1


def test_a_long_stream_is_followed_by_a_new_base(
    server: RedisServer, followed: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what a server replays at recovery is bounded. The records up to it are there."""
    monkeypatch.setattr("knowngood.databases.follower.REPLAYED_BYTES", 10_000)
    for number in range(20):
        server.ask("SET", "same", b"x" * (1000 + number))
    followed.until(lambda: sum(len(each.data) for each in followed.records) > 20_000)
    server.ask("SET", "same", "z")
    before = followed.checkpoints[-1]
    records = followed.checkpoint()
    assert records[-1].operation == Operation.GAP
    assert followed.gaps == 2
    assert digest(followed) == server.digest().decode()  # type: ignore[union-attr]
    assert followed.newest()[0] != before[0].root
    server.ask("SET", "same", "y")
    followed.until_records()
    assert sum(len(each.data) for each in followed.records if each.path.endswith(STREAM[-10:])) > 0
    assert digest(followed, followed.at(len(followed.records))) == server.digest().decode()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "redis://:secret@host"}, "a password does not belong"),
        ({"url": "http://host"}, "no address"),
        ({"url": "redis://host:port"}, "no address"),
        ({"url": "redis://host/3"}, "no address"),
        ({"url": "unix://"}, "no address"),
        ({"url": "redis://h", "password-file": "relative"}, "not absolute"),
    ],
)
def test_addresses_that_are_none(options: dict[str, str], said: str) -> None:
    """What is wrong, and never the secret."""
    with pytest.raises(UsageError, match=said) as wrong:
        address_of(ComponentSpec(name="c", kind="redis", options=options))
    assert "secret" not in wrong.value.message + wrong.value.hint.replace("redis.secret", "")


def test_a_password_that_others_may_read(tmp_path: Path) -> None:
    """The fix is a command."""
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o644)
    address = address_of(
        ComponentSpec(name="c", kind="redis", options={"url": "redis://h", "password-file": str(secret)})
    )
    with pytest.raises(UsageError, match="others may read") as wrong:
        address.password()
    assert wrong.value.hint == f"chmod go= {secret}"
    secret.chmod(0o600)
    assert address.password() == "hidden"
    secret.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        address.password()


def test_a_server_that_is_none(tmp_path: Path) -> None:
    """It is away, which may pass."""
    feed = RedisFeed(address_of(ComponentSpec(name="c", kind="redis", options={"url": f"unix://{tmp_path}/none"})))
    local = LocalFiles(str(tmp_path / "local"))
    with closing(feed), closing(local), pytest.raises(KnowngoodError) as wrong:
        feed.base(Image(local, (0, 0), lambda: 0), MemorySink(), Progress())
    assert wrong.value.retry == "later"


@pytest.mark.parametrize("marker", [True, False])
@pytest.mark.parametrize("step", [1, 7, 4000])
def test_bases_in_any_pieces(marker: bool, step: int) -> None:
    """Of known length, or up to a marker; what comes behind is the stream."""
    body, mark = b"REDIS" + bytes(range(256)) * 20, b"m" * 40
    sent = b"\n\n$EOF:%b\r\n%b%b" % (mark, body, mark) if marker else b"\n$%d\r\n%b" % (len(body), body)
    sent += b"rest"
    parts = [sent[at : at + step] for at in range(0, len(sent), step)]
    rest = iter(parts)
    stream = BaseStream(lambda: next(rest), b"")
    found = b""
    while part := stream.read(1000):
        assert len(part) <= 1000
        found += part
    assert found == body
    assert b"".join([stream.rest(), *rest]) == b"rest"

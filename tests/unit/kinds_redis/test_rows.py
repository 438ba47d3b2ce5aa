"""Keys of Redis, one or many, with their values and the time that they have left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from knowngood.core.errors import Unsupported, UsageError
from knowngood.core.rows import Row, Rows, RowsRequest, Tally, Which
from knowngood.kinds.redis.rows import open_rows
from tests.servers.following import open_folder
from tests.servers.redis import RedisServer, redis_server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """What is read of it is then, what is written to it is now."""
    with open_folder() as folder, redis_server(folder / "r") as found:
        yield found


def read(server: RedisServer, key: str) -> tuple[Rows, list[Row]]:
    """Both sides, and the keys; the sandbox is gone then."""
    rows = open_rows(server.component, {"url": server.url}, RowsRequest(key=key))
    with closing(rows.source):
        return rows, [row for batch in rows.source.batches() for row in batch]


def merge(rows: Rows, found: list[Row], which: Which | None) -> Tally:
    """Into now."""
    with closing(rows.target()) as target:
        tally = target.merge(found, which)
        target.commit()
        return tally


def test_keys_come_back_with_their_time(server: RedisServer) -> None:
    """One, and those of a pattern: whatever types, more than one SCAN gives; others stay as they are."""
    for number in range(1500):
        server.ask("HSET", f"cart:{number}", "total", number)
    server.ask("ZADD", b"cart:\xff z", 1, b"\x00")
    server.ask("PEXPIREAT", "cart:7", 4102444800123)
    server.ask("SET", "other", "then")
    before = server.digest()
    single, one = read(server, "cart:7")
    rows, found = read(server, "cart:*")
    assert len(found) == 1501
    server.ask("DEL", "cart:7", b"cart:\xff z", "cart:8")
    server.ask("HSET", "cart:9", "total", "wrong")
    assert merge(single, one, Which.MISSING) == Tally(1, 1, 0, 0, 1, 0)
    assert server.ask("PEXPIRETIME", "cart:7") == 4102444800123
    assert merge(rows, found, None) == Tally(1501, 2, 1, 1498)
    assert merge(rows, found, Which.MISSING) == Tally(1501, 2, 1, 1498, 2, 0)
    assert server.ask("HGET", "cart:9", "total") == b"wrong"
    assert merge(rows, found, Which.CHANGED) == Tally(1501, 0, 1, 1500, 0, 1)
    assert server.digest() == before


def test_a_name_with_signs_of_patterns_is_a_name_first(server: RedisServer) -> None:
    """A key that is called so is meant itself."""
    for key in ("a*", "ab"):
        server.ask("SET", key, key)
    assert [row[0] for row in read(server, "a*")[1]] == [b"a*"]
    assert read(server, "none")[1] == []


def test_what_redis_cannot(server: RedisServer) -> None:
    """Tables, conditions, files; accounts without rights are told what they need."""
    for request in (RowsRequest(table="t"), RowsRequest(key="k", where="x"), RowsRequest()):
        with pytest.raises(UsageError, match="keys"):
            open_rows(server.component, {"url": server.url}, request)
    server.ask("SET", "k", "v")
    rows, found = read(server, "k")
    with pytest.raises(Unsupported):
        rows.source.statement(found[0])
    server.ask("DEL", "k")
    server.ask("ACL", "SETUSER", "default", "-restore")
    with closing(rows.target()) as target, pytest.raises(UsageError) as wrong:
        target.merge(found, Which.MISSING)
    assert "+restore" in wrong.value.hint

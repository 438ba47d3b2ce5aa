"""Keys of Redis as rows: a name, the value as DUMP gives it, and when its time is over (milliseconds; -1 for never)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from knowngood.core.errors import Damaged, KnowngoodError, Unsupported, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.rows import Column, Form, Row, Rows, RowsRequest, Tally, Value, Which
from knowngood.databases.merging import batched
from knowngood.kinds.redis.address import Address, address_of
from knowngood.kinds.redis.link import Link, expect_bytes
from knowngood.wire.resp import Refused, Reply

_SECONDS = 60.0
_AT_ONCE = 1000
_SIGNS = frozenset("*?[")
_TAKEN = "BUSYKEY"


class RedisKeys:
    """Keys of a recovered server (port RowSource)."""

    def __init__(self, address: Address, request: RowsRequest) -> None:
        """Raises UsageError when it is not said which keys."""
        if not request.key or request.table or request.where:
            raise UsageError("Redis has keys, and no tables", hint="name one, or a pattern: --key 'cart:*'")
        self._wanted = request.key
        self._link = Link(address, _SECONDS)

    @property
    def name(self) -> str:
        """What was asked for."""
        return self._wanted

    @property
    def columns(self) -> Sequence[Column]:
        """Of each key."""
        return (Column("key"), Column("value"), Column("expires", Form.NUMBER))

    def batches(self) -> Iterator[list[Row]]:
        """The keys of database 0 that match. A name that is there is meant itself, whatever signs it has."""
        try:
            single = self._row(self._wanted.encode("utf-8", "surrogateescape"))
            if single is not None:
                yield [single]
            elif _SIGNS & set(self._wanted):
                yield from batched(row for key in self._matching() if (row := self._row(key)) is not None)
        except Refused as wrong:
            raise KnowngoodError(f"the recovered server refuses: {wrong}") from None

    def _matching(self) -> Iterator[bytes]:
        """Nothing changes in a recovered server, and so SCAN tells each key; now and then one twice."""
        place, seen = b"0", set[bytes]()
        while True:
            found = self._link.ask("SCAN", place, "MATCH", self._wanted, "COUNT", _AT_ONCE)
            if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], list):
                raise Damaged("the server does not speak the protocol of Redis")
            keys = {expect_bytes(each) for each in found[1]} - seen
            seen |= keys
            yield from sorted(keys)
            place = expect_bytes(found[0])
            if place == b"0":
                return

    def _row(self, key: bytes) -> Row | None:
        value = self._link.ask("DUMP", key)
        return None if value is None else (key, expect_bytes(value), _number(self._link.ask("PEXPIRETIME", key)))

    def statement(self, row: Row) -> str:  # noqa: ARG002 - the port's
        """There is none that could be typed."""
        raise Unsupported("keys of Redis are not written to files", hint="leave out --to: they are merged")

    def close(self) -> None:
        """Let go of the connection."""
        self._link.close()


class RedisMerge:
    """The keys in production (port RowTarget). Redis has no transaction that can be taken back: each key is brought
    back whole, one after the other, and what was brought back stays."""

    left_out: Sequence[str] = ()

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link = Link(address, _SECONDS)

    def merge(self, rows: list[Row], which: Which | None) -> Tally:
        """Count them, and write some: one after the other."""
        tally = Tally(rows=len(rows))
        try:
            for key, value, expires in rows:
                now = self._link.ask("DUMP", _bytes(key))
                if now == value:
                    tally.same += 1
                elif now is None:
                    tally.missing += 1
                    tally.inserted += which in (Which.MISSING, Which.ALL) and self._restore(key, value, expires)
                else:
                    tally.different += 1
                    if which in (Which.CHANGED, Which.ALL):
                        tally.updated += self._restore(key, value, expires, "REPLACE")
        except Refused as wrong:
            raise self._told(wrong) from None
        return tally

    def _restore(self, key: Value, value: Value, expires: Value, *more: str) -> bool:
        """Bring one back, unless somebody has just made it."""
        time = max(0, _number_of(expires))
        try:
            self._link.ask("RESTORE", _bytes(key), time, _bytes(value), "ABSTTL", *more)
        except Refused as wrong:
            if str(wrong).startswith(_TAKEN):
                return False
            raise
        return True

    def _told(self, wrong: Refused) -> KnowngoodError:
        if str(wrong).startswith("NOPERM"):
            hint = f"allow it: ACL SETUSER {self._address.user or 'default'} ~* +dump +restore"
            return UsageError(f"Redis at {self._address.text} does not allow it: {wrong}", hint=hint)
        return self._link.refused("RESTORE", wrong)

    def commit(self) -> None:
        """All is written already."""

    def close(self) -> None:
        """Let go of the connection."""
        self._link.close()


def _number(reply: Reply) -> int:
    if not isinstance(reply, int):
        raise Damaged("the server does not speak the protocol of Redis")
    return reply


def _number_of(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def open_rows(component: ComponentSpec, found: Mapping[str, str], request: RowsRequest) -> Rows:
    """Keys of a recovered server."""
    address = address_of(component)
    source = RedisKeys(Address(socket=found["url"].removeprefix("unix://")), request)
    return Rows(source, lambda: RedisMerge(address))

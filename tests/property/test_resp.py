"""RESP: whole replies from any pieces, and never anything but Damaged from bytes that are none."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.wire.resp import LIMIT, Refused, Replies, Reply, command

texts = st.binary(max_size=40)
lines = texts.map(lambda each: each.replace(b"\r", b"").replace(b"\n", b""))
replies = st.recursive(
    st.one_of(texts, lines.map(lambda each: ("+", each)), st.integers(-(1 << 63), (1 << 63) - 1), st.none()),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def written(reply: object) -> bytes:
    """As a server sends it."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case ("+", bytes(text)):
            return b"+%b\r\n" % text
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(map(written, reply))
    raise AssertionError(reply)


def meant(reply: object) -> Reply:
    """As it is to be read."""
    match reply:
        case ("+", bytes(text)):
            return text
        case list():
            return [meant(each) for each in reply]
    return reply  # type: ignore[return-value]


def all_of(replies: Replies) -> list[Reply | Refused]:
    found: list[Reply | Refused] = []
    while (one := replies.next()) is not None:
        found.append(one[0])
    return found


@given(st.lists(replies, max_size=5), st.lists(st.integers(0, 400), max_size=6))
def test_any_split_gives_the_same_replies(sent: list[object], cuts: list[int]) -> None:
    """Also with signs of life between them."""
    data = b"\n".join(map(written, sent))
    edges = [0, *sorted(min(each, len(data)) for each in cuts), len(data)]
    machine, found = Replies(), []
    for start, end in pairwise(edges):
        machine.feed(data[start:end])
        found += all_of(machine)
    assert found == [meant(each) for each in sent]
    assert machine.rest() == b""


@given(st.binary(max_size=200), st.integers(0, 200))
@example(b":--5\r\n", 0)
@example(b"*-1\r\n", 0)
@example(b"$-7\r\n", 0)
@example(b"*99999999999999999999\r\n", 0)
@example(b"*1\r\n" * 20 + b":1\r\n", 0)
def test_hostile_bytes(data: bytes, cut: int) -> None:
    """Damaged, or replies; nothing else."""
    machine = Replies()
    try:
        for part in (data[:cut], data[cut:]):
            machine.feed(part)
            all_of(machine)
    except Damaged:
        pass


def test_what_is_too_long_is_refused() -> None:
    """A reply, a line, a list."""
    machine = Replies()
    machine.feed(b"$%d\r\n" % (LIMIT + 1))
    with pytest.raises(Damaged, match="too long"):
        machine.next()
    machine = Replies()
    machine.feed(b"+" + b"x" * (70 << 10))
    with pytest.raises(Damaged, match="too long"):
        machine.next()
    with pytest.raises(Damaged, match="too long"):
        Replies().feed(bytes(LIMIT + 1))
    machine = Replies()
    machine.feed(b"*%d\r\n" % (LIMIT + 1))
    with pytest.raises(Damaged, match="too long"):
        machine.next()


def test_errors_are_the_servers_words() -> None:
    """Alone, and in a list as text."""
    machine = Replies()
    machine.feed(b"-NOPERM no\r\n*1\r\n-ERR x\r\n+next")
    first = machine.next()
    assert first is not None
    assert isinstance(first[0], Refused)
    assert str(first[0]) == "NOPERM no"
    assert machine.next() == ([b"ERR x"],)
    assert machine.next() is None
    assert machine.rest() == b"+next"


@given(st.lists(st.one_of(st.binary(max_size=20), st.integers()), min_size=1))
def test_a_command_is_a_list_of_its_words(words: list[bytes | int]) -> None:
    """As the server's own parser reads it."""
    machine = Replies()
    machine.feed(command(*words))
    assert machine.next() == ([each if isinstance(each, bytes) else str(each).encode() for each in words],)

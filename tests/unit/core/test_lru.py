"""The cache of what was used last."""

from __future__ import annotations

from knowngood.core.lru import Lru


def test_what_was_not_used_goes_first() -> None:
    """By weight; looking at something counts as using it."""
    cache: Lru[str, int] = Lru(10)
    for name in "abc":
        cache.put(name, ord(name), 3)
    assert cache.get("a") == ord("a")
    cache.put("d", 1, 4)
    assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]


def test_the_newest_stays_however_heavy() -> None:
    """It would only be made again."""
    cache: Lru[str, int] = Lru(10)
    cache.put("a", 1, 5)
    cache.put("b", 2, 50)
    assert (cache.get("a"), cache.get("b")) == (None, 2)
    cache.put("c", 3, 5)
    assert (cache.get("b"), cache.get("c")) == (None, 3)


def test_replacing_counts_once() -> None:
    """The weight of what was replaced is gone."""
    cache: Lru[str, int] = Lru(10)
    for turn in range(20):
        cache.put("a", turn, 4)
        cache.put("b", turn, 4)
    assert (cache.get("a"), cache.get("b")) == (19, 19)

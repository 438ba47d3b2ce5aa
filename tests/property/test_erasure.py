"""The erasure code: any lanes come back from as many shards, and members of a set wherever their blocks are bad."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3
from hypothesis import given, strategies as st

from knowngood.core.errors import Damaged
from knowngood.core.progress import Progress
from knowngood.seal.erasure import coefficient, inverse, multiply, scaled, solution
from knowngood.testing.stores import MemoryStore
from knowngood.vault.parity.decode import decode
from knowngood.vault.parity.lanes import Candidate, fill
from knowngood.vault.parity.sets import list_sets
from knowngood.vault.parity.shard import Member
from knowngood.vault.parity.write import write_set

elements = st.integers(0, 255)


@given(elements, elements, elements)
def test_it_is_a_field(one: int, two: int, three: int) -> None:
    assert multiply(one, two) == multiply(two, one)
    assert multiply(one, multiply(two, three)) == multiply(multiply(one, two), three)
    assert multiply(one, two ^ three) == multiply(one, two) ^ multiply(one, three)
    if one:
        assert multiply(one, inverse(one)) == 1


@given(st.data())
def test_any_lanes_come_back_from_as_many_shards(data: st.DataObject) -> None:
    lanes = data.draw(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=60))
    lost = data.draw(st.lists(st.integers(0, len(lanes) - 1), min_size=1, max_size=6, unique=True))
    used = data.draw(st.lists(st.integers(0, 15), min_size=len(lost), max_size=len(lost), unique=True))
    sums: list[int] = []
    for shard in used:
        whole = [scaled(lane, coefficient(shard, number)) for number, lane in enumerate(lanes)]
        sums.append(0)
        for number, part in enumerate(whole):
            sums[-1] ^= 0 if number in lost else part
            sums[-1] ^= part  # the shard, without the lanes that are there
    for row, number in zip(solution(used, lost), lost, strict=True):
        total = 0
        for factor, part in zip(row, sums, strict=True):
            total ^= scaled(part.to_bytes(8, "little"), factor) if factor else 0
        assert total.to_bytes(8, "little") == lanes[number]


def _set(some: random.Random, sizes: list[int], block: int) -> tuple[MemoryStore, list[Member], dict[str, bytes]]:
    store = MemoryStore()
    fresh: list[Candidate] = []
    for size in sizes:
        content = some.randbytes(size)
        fresh.append(Candidate(1, size, blake3(content).digest()))
        store.put(fresh[-1].at(0, 0).key, [content])
    truth = dict(store.objects)
    placed, left = fill([], fresh, block)
    assert not left
    write_set(store, "parity/packs/", placed, block, Progress())
    return store, placed, truth


@given(st.integers(), st.lists(st.integers(1, 9000), min_size=8, max_size=40), st.sampled_from([512, 4096]))
def test_bad_blocks_that_two_at_most_have_at_one_place_come_back(seed: int, sizes: list[int], block: int) -> None:
    some = random.Random(seed)
    store, members, truth = _set(some, sizes, block)
    (parity,), _ = list_sets(store)
    places: dict[int, set[int]] = {}
    for member in members:
        data = bytearray(truth[member.key])
        for at in range(0, len(data), block):
            lanes = places.setdefault((member.offset + at) // block, set())
            if some.random() < 0.3 and len(lanes | {member.lane}) <= parity.table.shards:
                lanes.add(member.lane)
                data[some.randrange(at, min(at + block, len(data)))] ^= some.randrange(1, 256)
        store.objects[member.key] = bytes(data)
    for member in parity.table.members:
        assert decode(store, parity, member) == truth[member.key]


@given(st.integers(), st.lists(st.integers(1, 3000), min_size=2, max_size=12))
def test_what_comes_back_is_what_was_there_or_nothing(seed: int, sizes: list[int]) -> None:
    some = random.Random(seed)
    store, _, truth = _set(some, sizes, 512)
    (parity,), _ = list_sets(store)
    for key in some.sample(sorted(store.objects), some.randrange(1, min(5, len(store.objects)))):
        data = bytearray(store.objects.pop(key))
        if key in truth and some.random() < 0.5:
            continue
        data[some.randrange(len(data))] ^= 1
        store.objects[key] = bytes(data)[: some.randrange(1, len(data) + 1)]
    for member in parity.table.members:
        try:
            assert decode(store, parity, member) == truth[member.key]
        except Damaged:
            continue


@pytest.mark.parametrize("sizes", [[5], [5, 6], [100] * 7, [100] * 8, [100] * 64, [100] * 65, [1, 5000]])
def test_lanes_are_used_before_they_are_shared(sizes: list[int]) -> None:
    placed, left = fill([], [Candidate(1, size, bytes([at]) * 32) for at, size in enumerate(sizes)], 512)
    assert len({each.lane for each in placed}) == min(64, len(placed))
    assert len(placed) + len(left) == len(sizes)

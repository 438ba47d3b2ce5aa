"""Only what concerns some paths is replayed, and they are as the whole log makes them."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from knowngood.core.errors import Damaged
from knowngood.core.log import Operation
from knowngood.flow.related import Related
from knowngood.testing.memory import MemoryPages, MemoryScratch, MemoryVault
from knowngood.tree.block import Entry
from knowngood.tree.read import TreeReader, within
from knowngood.tree.replay import Replay
from tests.property.test_tree_replay import NAMES, small, step, steps
from tests.unit.tree.replaying import FILE, FOLDER, Model, expand, land, read

paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(b"\0".join)


def entries(replay: Replay) -> dict[bytes, Entry]:
    """What is where."""
    root, pages = replay.state()
    return {each.key: each for each in TreeReader(root, pages.page).entries()}


@settings(max_examples=settings().max_examples * 4)
@given(steps, steps, st.sets(paths, max_size=3))
def test_the_concerned_are_as_the_whole_log_makes_them(
    before: list[tuple], after: list[tuple], keys: set[bytes]
) -> None:
    """Also what was moved about, with its folders; files with several names are said to be uncertain."""
    with small():
        model, vault = Model(), MemoryVault()
        for each in before:
            step(model, vault, *each)
        root = land(model, vault)
        pages = MemoryPages(vault)
        first, linked = model.sequence, any(node.links > 1 for node in model.nodes.values())
        records = [record for each in after if (record := step(model, vault, *each))]
        only = Related(records, lambda _: False, keys)
        replay = Replay(root, pages, MemoryScratch(), expand, first)
        try:
            for each in records:
                (replay.apply if only.concerns(each) else replay.pass_over)(each)
        except Damaged:
            assert linked or any(each.operation == Operation.LINK for each in records)
            return
        found, there = entries(replay), read(*replay.state())
        wanted = {key for key in {*found, *model.nodes} if any(within(key, each) for each in keys)}
        for key in wanted:
            if key in found and only.is_certain_of(found[key]):
                assert there[key] == model.shown()[key]
            assert (key in found) == (key in model.nodes)


def test_what_does_not_concern_a_path_is_passed_over() -> None:
    """Changes of others, wherever they are; those of what was moved onto its place concern it."""
    model = Model()
    records = [
        model.create(b"d", FOLDER),
        model.create(b"d\0x", FILE, b"1"),
        model.create(b"other", FILE, b"2"),
        model.rename(b"other", b"third"),
        model.rename(b"d", b"e"),
    ]
    only = Related(records, lambda _: False, [b"e\0x"])
    assert [only.concerns(each) for each in records] == [True, True, False, False, True]

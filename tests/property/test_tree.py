"""Trees against plain dictionaries: what is built is what is read, looked up, listed and compared."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings, strategies as st

from knowngood.core.errors import NotFound
from knowngood.core.ids import Name
from knowngood.tree import build as build_module
from knowngood.tree.build import TreeBuilder
from knowngood.tree.diff import diff
from knowngood.tree.read import TreeReader
from tests.unit.tree.growing import Pages, blocks_of, build, chunk_name

Tree = dict[bytes, dict[bytes, bytes]]

# Names that sort in surprising ways, and share beginnings.
names = st.one_of(
    st.sampled_from([b"a", b"aa", b"a-", b"a0", b"b", b"\x01", b"\xff", b"!", b"..a"]),
    st.binary(min_size=1, max_size=3).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b"..")),
)
keys = st.lists(names, max_size=3).map(b"\0".join)
files = st.dictionaries(names, st.sampled_from([b"", b"x", b"yy", b"content"]), min_size=1, max_size=12)
trees = st.dictionaries(keys, files, max_size=12)


def small_pages() -> Mapping[str, int]:
    """Borders so low that little trees have many blocks, leaves and levels."""
    return {
        "TARGET": 200,
        "LIMIT": 800,
        "NODE_MASK": 1,
        "NODE_LIMIT": 4,
        "BLOCK_FROM": 2,
        "BLOCK_MASK": 1,
        "BLOCK_LIMIT": 4,
    }


def with_small_pages() -> Pages:
    for name, value in small_pages().items():
        setattr(build_module, name, value)
    return Pages()


_USUAL = {name: getattr(build_module, name) for name in small_pages()}


def teardown_function() -> None:
    """Borders as they were."""
    for name, value in _USUAL.items():
        setattr(build_module, name, value)


def flat(tree: Tree) -> dict[tuple[bytes, bytes], bytes]:
    return {(directory, name): content for directory, files in tree.items() for name, content in files.items()}


def read(reader: TreeReader, above: bytes = b"") -> dict[tuple[bytes, bytes], bytes]:
    """(directory, name) → the name of its chunk."""
    return {(entry.directory, entry.name): entry.refs for entry in reader.entries(above)}


def stored(contents: dict[tuple[bytes, bytes], bytes]) -> dict[tuple[bytes, bytes], bytes]:
    return {place: chunk_name(content) if content else b"" for place, content in contents.items()}


@given(trees)
def test_what_is_built_is_read_in_order(tree: Tree) -> None:
    pages = with_small_pages()
    found = read(pages.reader(build(pages, tree)))
    assert found == stored(flat(tree))
    assert list(found) == sorted(found)


@given(trees, st.lists(st.tuples(keys, names), max_size=5))
def test_lookup_finds_what_is_there_and_nothing_else(tree: Tree, others: list[tuple[bytes, bytes]]) -> None:
    pages = with_small_pages()
    reader = pages.reader(build(pages, tree))
    truth = flat(tree)
    for directory, name in [*truth, *others]:
        path = (directory + b"\0" + name).replace(b"\0", b"/") if directory else name
        try:
            entry = reader.lookup(path)
        except NotFound:
            assert (directory, name) not in truth
        else:
            assert (entry.directory, entry.name) == (directory, name)
            assert entry.size == len(truth[directory, name])


@given(trees, keys)
def test_a_directory_and_a_subtree_are_what_they_should_be(tree: Tree, key: bytes) -> None:
    pages = with_small_pages()
    reader = pages.reader(build(pages, tree))
    names = sorted(tree.get(key, {}))
    assert [entry.name for entry in reader.directory(key)] == names
    for after in (*names, b"m"):
        assert [entry.name for entry in reader.directory(key, after)] == [each for each in names if each > after]
    below = {
        place: name
        for place, name in stored(flat(tree)).items()
        if (place[0] + b"\0").startswith(key + b"\0") or not key
    }
    assert read(reader, key) == below


@given(trees, trees)
def test_a_difference_is_that_of_the_dictionaries(old: Tree, new: Tree) -> None:
    pages = with_small_pages()
    before, after = (TreeReader(build(pages, tree), pages.get) for tree in (old, new))
    found = [
        ((one or other).directory, (one or other).name, one and one.refs, other and other.refs)  # type: ignore[union-attr]
        for one, other in diff(before, after)
    ]
    left, right = stored(flat(old)), stored(flat(new))
    places = sorted(left.keys() | right.keys())
    assert found == [(*at, left.get(at), right.get(at)) for at in places if left.get(at) != right.get(at)]


@given(trees, st.lists(trees, max_size=3))
def test_history_does_not_show(last: Tree, earlier: list[Tree]) -> None:
    """Built over what earlier trees left, leaf by leaf, a tree is the very one that is built at once."""
    pages = with_small_pages()
    root = None
    for tree in [*earlier, last]:
        root = _grown(pages, root, tree)
    assert root == build(Pages(), last)


def _grown(pages: Pages, old: Name | None, tree: Tree) -> Name:
    """A tree built as a capture builds it: blocks of the old tree that are still right are added as they were read."""
    builder = TreeBuilder(pages.put)
    known = {}
    if old is not None:
        reader = TreeReader(old, pages.get)
        for leaf in reader.leaves():
            builder.know(leaf)
            known |= {(block.directory, block.names): block for block in reader.leaf(leaf)}
    for directory in sorted(tree):
        for block in blocks_of(directory, tree[directory]):
            before = known.get((block.directory, block.names))
            builder.add(before if before is not None and before.same_as(block) else block)
    return builder.finish()


@settings(max_examples=15)
@given(st.integers(0, 299), st.integers(0, 49), st.sampled_from(["change", "remove", "add"]))
def test_one_change_alters_few_pages(directory: int, file: int, act: str) -> None:
    """In a tree of 15000 entries with pages of their usual size divided by sixteen."""
    build_module.TARGET, build_module.LIMIT = 6 << 10, 24 << 10
    pages = Pages()
    tree = {b"d%03d" % d: {b"f%04d" % f: b"%d" % (d ^ f) for f in range(50)} for d in range(300)}
    build(pages, tree)
    before = len(pages.kept)
    assert before > 100
    here = tree[b"d%03d" % directory]
    if act == "change":
        here[b"f%04d" % file] = b"something else"
    elif act == "remove":
        del here[b"f%04d" % file]
    else:
        here[b"f%04d-new" % file] = b"new"
    build(pages, tree)
    assert len(pages.kept) - before <= 8

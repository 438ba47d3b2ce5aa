"""YAML and TOML with lines, and bounds for hostile files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from knowngood.control.documents import MAX_BYTES, parse_document, read_document
from knowngood.core.errors import NotFound, UsageError

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]" for n in range(8)
)


def yaml(text: str | bytes) -> object:
    """The data of a YAML text."""
    return parse_document(text.encode() if isinstance(text, str) else text, "f.yaml", "yaml").data


def test_lines_of_keys_items_and_values() -> None:
    """The line of the nearest known thing."""
    document = parse_document(b"a:\n  b: 1\n\n  c:\n    - x\n    - y\n", "f.yaml", "yaml")
    assert document.data == {"a": {"b": 1, "c": ["x", "y"]}}
    assert document.place(("a", "b")) == "f.yaml, line 2"
    assert document.place(("a", "c", 1)) == "f.yaml, line 6"
    assert document.place(("a", "nothing", "below")) == "f.yaml, line 1"
    assert document.place(("nothing",)) == "f.yaml"


def test_lines_of_toml() -> None:
    """Tables, keys, quoted and dotted ones."""
    text = b'a = 1\n[b."c d"]\n# x\ne = 2\nf.g = 3\n["h"]\n'
    document = parse_document(text, "f.toml", "toml")
    assert document.data == {"a": 1, "b": {"c d": {"e": 2, "f": {"g": 3}}}, "h": {}}
    assert document.place(("b", "c d", "e")) == "f.toml, line 4"
    assert document.place(("b", "c d", "f", "g")) == "f.toml, line 5"
    assert document.place(("h",)) == "f.toml, line 6"


def test_aliases_are_fine_within_bounds() -> None:
    """They are YAML's way of saying a thing once."""
    assert yaml("a: &x ['*.tmp']\nb: *x\n") == {"a": ["*.tmp"], "b": ["*.tmp"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "line 2: 'a' stands here twice"),
        ("{" * 100, "line 1: too many values, or nested too deeply"),
        ("[" * 9000, "line 1: too many values, or nested too deeply"),
        ("a: [" + "1," * 90000 + "]", "too many values"),
        (BOMB, "too many values"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: &a {x: *a}", "nested too deeply"),
        ("a: &a {b: 1}\nc: {<<: *a}", "line 2: merge keys (<<) are not read here"),
        ("a: !!python/object:os.system [x]", "line 1: the tag"),
        ("a: !!python/name:os.system x", "line 1: could not determine a constructor"),
        ("a: !!set {a}", "line 1: the tag"),
        ("x: 1\n1: 2", "line 2: a key must be text"),
        ("? {a: b}\n: c", "line 1: a key must be text"),
        ('"a\\udcff": 1', "line 1: a key must be text"),
        ("a: b: c", "line 1: mapping values are not allowed"),
        ("a: 2026-99-99", "month must be in"),
        ("a: !!int x", "invalid literal"),
        ("a\n---\nb", "line 2: but found another document"),
        (b"ok: 1\nbad: \xff", "line 2: not UTF-8"),
        ("a: \x01", "unacceptable character"),
        (b"a" * (MAX_BYTES + 1), "larger than 256 KiB"),
    ],
)
def test_what_is_refused(text: str | bytes, said: str) -> None:
    """With the line where that is known, and no traceback."""
    with pytest.raises(UsageError, match=re.escape(said)):
        yaml(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("\ta: 1", "indent with spaces"),
        ("a: *.tmp", 'such as "*.tmp"'),
        ("a: [*.tmp]", 'such as "*.tmp"'),
        ("a: b: c", "check the indentation"),
        ("a: [", "check indentation, brackets and quotes"),
    ],
)
def test_hints(text: str, hint: str) -> None:
    """The fix for what everybody runs into once."""
    with pytest.raises(UsageError) as caught:
        yaml(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [("a = ", "line 1: Invalid value"), ("a = 1\nb = [", "line 2"), ("a=" + "[" * 5000, "nested too deeply")],
)
def test_what_is_refused_in_toml(text: str, said: str) -> None:
    """The same, as far as the parser tells."""
    with pytest.raises(UsageError, match=said):
        parse_document(text.encode(), "f.toml", "toml")


def test_deep_toml_is_refused() -> None:
    """Tables can be deep without recursion in the parser."""
    with pytest.raises(UsageError, match="nested too deeply"):
        parse_document(b"[" + b".".join([b"a"] * 50) + b"]", "f.toml", "toml")


def test_files(tmp_path: Path) -> None:
    """The suffix tells the form; a byte order mark is no part of the text."""
    (tmp_path / "a.YML").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(f"{tmp_path}/a.YML").data == {"a": 1}
    with pytest.raises(NotFound):
        read_document(f"{tmp_path}/b.yaml")
    with pytest.raises(UsageError, match="neither"):
        read_document(f"{tmp_path}/b.json")

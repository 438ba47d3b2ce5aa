"""YAML and TOML files as plain data, with the line of everything that stands in them. Hostile files are bounded."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

import yaml

from knowngood.control.files import read_bounded
from knowngood.core.errors import UsageError

MAX_BYTES = 256 << 10
MAX_NODES = 20_000
"""Values in a file, with every use of an alias counted anew."""
MAX_DEPTH = 16

Location = tuple[str | int, ...]
"""Where something stands: keys and list indexes from the top."""

_MAP, _SEQUENCE, _MERGE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_SUFFIXES = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says. `source` is its path, or another name that people know it by."""

    source: str
    data: Any
    form: str
    text: str
    lines: dict[Location, int] = field(default_factory=dict)

    def place(self, location: Location = ()) -> str:
        """`shop.yaml, line 7`: where this is, or the nearest thing above it of which the line is known."""
        for length in range(len(location), 0, -1):
            if line := self.lines.get(location[:length]):
                return f"{self.source}, line {line}"
        return self.source


def read_document(path: str) -> Document:
    """Read a .yaml, .yml or .toml file. Raises NotFound, UsageError."""
    suffix = path[path.rfind(".") :].lower()
    form = _SUFFIXES.get(suffix)
    if form is None:
        raise UsageError(f"{path} is neither a .yaml nor a .toml file", hint="rename it, or write it as YAML")
    return parse_document(read_bounded(path, MAX_BYTES), path, form)


def parse_document(data: bytes, source: str, form: str) -> Document:
    """Parse bytes of either form. Raises UsageError that names the line."""
    if len(data) > MAX_BYTES:
        raise UsageError(f"{source} is larger than {MAX_BYTES >> 10} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise UsageError(f"{source}, line {line}: not UTF-8 text", hint="save the file as UTF-8") from None
    return _parse_toml(text, source) if form == "toml" else _parse_yaml(text, source)


# -------------------------------------------------------------------------------------------------------------- YAML


class _TooMuch(yaml.YAMLError):
    """A bound was passed at this mark."""

    def __init__(self, what: str, mark: yaml.Mark | None) -> None:
        super().__init__(what)
        self.what = what
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """The safe loader, with bounds on depth and number while nodes are composed."""

    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        self.nodes += 1
        if self.depth > 2 * MAX_DEPTH or self.nodes > MAX_NODES:
            raise _TooMuch("too many values, or nested too deeply", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def compose(text: str) -> tuple[yaml.Node | None, yaml.SafeLoader]:
    """The nodes of a YAML text, with their marks; the loader turns single scalars into values."""
    loader = _Loader(text)
    return loader.get_single_node(), loader


def _parse_yaml(text: str, source: str) -> Document:
    try:
        node, loader = compose(text)
        reader = _Reader(loader, source)
        data = None if node is None else reader.plain(node, (), 0)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        raise UsageError(f"{_at(source, mark)}: {wrong.problem or wrong.context}", hint=_yaml_hint(wrong)) from None
    except _TooMuch as wrong:
        raise UsageError(f"{_at(source, wrong.mark)}: {wrong.what}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as wrong:
        raise UsageError(f"{source}: {' '.join(str(wrong).split())}", hint="put unusual text in quotes") from None
    return Document(source, data, "yaml", text, reader.lines)


def _at(source: str, mark: yaml.Mark | None) -> str:
    return source if mark is None else f"{source}, line {mark.line + 1}"


def _yaml_hint(wrong: yaml.MarkedYAMLError) -> str:
    problem = wrong.problem or ""
    if "'\\t'" in problem:
        return "indent with spaces, not with tabs"
    if "alias" in f"{wrong.context} {problem}":
        return 'text that begins with * needs quotes, such as "*.tmp"'
    if "mapping values are not allowed" in problem:
        return "check the indentation; text that contains ': ' needs quotes"
    return "check indentation, brackets and quotes around that line"


class _Reader:
    """Nodes → plain values, noting lines. Every key is text and stands once."""

    def __init__(self, loader: yaml.SafeLoader, source: str) -> None:
        self.loader = loader
        self.source = source
        self.lines: dict[Location, int] = {}
        self.count = 0

    def plain(self, node: yaml.Node, location: Location, depth: int) -> Any:
        """A node as plain data. An alias is its anchor's value again, and counts again."""
        self.count += 1
        if self.count > MAX_NODES or depth > MAX_DEPTH:
            raise _TooMuch("too many values, or nested too deeply (aliases count each time)", node.start_mark)
        self.lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            self._expect(node, _MAP)
            return {key: self.plain(value, (*location, key), depth + 1) for key, value in self._items(node, location)}
        if isinstance(node, yaml.SequenceNode):
            self._expect(node, _SEQUENCE)
            return [self.plain(each, (*location, index), depth + 1) for index, each in enumerate(node.value)]
        return self.loader.construct_object(node)

    def _expect(self, node: yaml.Node, tag: str) -> None:
        if node.tag != tag:
            raise UsageError(f"{_at(self.source, node.start_mark)}: the tag {node.tag} is not read here")

    def _items(self, node: yaml.MappingNode, location: Location) -> list[tuple[str, yaml.Node]]:
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            place = _at(self.source, key.start_mark)
            if key.tag == _MERGE:
                raise UsageError(f"{place}: merge keys (<<) are not read here", hint="write the keys out")
            if key.tag != _TEXT or not _is_clean(key.value):
                raise UsageError(f"{place}: a key must be text", hint="put the key in quotes")
            if key.value in seen:
                raise UsageError(f"{place}: '{key.value}' stands here twice", hint="keep one of them")
            seen[key.value] = value
            self.lines[(*location, key.value)] = key.start_mark.line + 1
        return list(seen.items())


def _is_clean(text: str) -> bool:
    return all(not 0xD800 <= ord(each) <= 0xDFFF for each in text)


# -------------------------------------------------------------------------------------------------------------- TOML

_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def _parse_toml(text: str, source: str) -> Document:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(wrong), re.DOTALL)
        line = found[2] or str(text.count("\n") + 1) if found else "?"
        raise UsageError(f"{source}, line {line}: {found[1] if found else wrong}") from None
    except RecursionError:
        raise UsageError(f"{source}: nested too deeply") from None
    if _count(data, 0) > MAX_NODES:
        raise UsageError(f"{source}: too many values, or nested too deeply")
    return Document(source, data, "toml", text, _toml_lines(text))


def _count(value: Any, depth: int) -> int:
    if depth > MAX_DEPTH:
        return MAX_NODES + 1
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(_count(each, depth + 1) for each in inside)


def _toml_lines(text: str) -> dict[Location, int]:
    """Lines of tables and of keys that begin a line: all that this parser can know, and enough for messages."""
    lines: dict[Location, int] = {}
    table: Location = ()
    for number, line in enumerate(text.splitlines(), 1):
        if found := _TABLE.fullmatch(line):
            table = _parts(found[1])
            lines.setdefault(table, number)
        elif found := _KEY.match(line):
            lines.setdefault((*table, *_parts(found[1])), number)
    return lines


def _parts(dotted: str) -> Location:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))

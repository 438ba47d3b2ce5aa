"""docs/format.md cannot rot silently: every constant, structure, field and code of the format stands in it."""

from __future__ import annotations

import ast
import importlib
import re
import struct
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyfastcdc.py.constants import MASKS

from knowngood.core.log import Form, Gap, LogRecord, Operation
from knowngood.core.model import Checkpoint, Judgement, Level, Point, Position, Problem, Status, Totals
from knowngood.seal.codec import Codec
from knowngood.seal.frame import FrameKind
from knowngood.tree.block import Content, Extra
from knowngood.vault.descriptor import OPERATIONS, Descriptor, KeyFile, naming_purpose, previous_purpose, unchecked
from knowngood.vault.epoch import Epoch
from knowngood.vault.layout import (
    PARITY_LOGS,
    PARITY_PACKS,
    commit_key,
    epoch_key,
    healed_key,
    key_file,
    pack_key,
    parity_key,
    run_key,
    session_key,
)
from knowngood.vault.pack import PackKind, key_purpose
from knowngood.vault.record import (
    Commit,
    Expiry,
    Fence,
    FoldedSegment,
    Hidden,
    PlainCheckpoint,
    PlainPoint,
    PlainSegment,
    Thinned,
    Undo,
    Unthinned,
)
from knowngood.vault.session import SessionCard
from tests.format.reference import MASK
from tests.format.samples import documents
from tests.house.files import ROOT, SRC

TEXT = (ROOT / "docs" / "format.md").read_text()
BODY, TABLE = TEXT.split("## 19. Constants")

MODULES = (
    "seal.names", "seal.keys", "seal.frame", "tree.block", "tree.page", "tree.build", "tree.log", "vault.layout",
    "vault.pack", "vault.run", "vault.record", "vault.descriptor", "vault.spool", "seal.erasure", "vault.parity.shard",
)  # fmt: skip


ASIDE = {
    "tree.block": {"_SIZE_AT"},
    "vault.parity.shard": {"_FIRST_READ"},
    "tree.page": {"_NUMBER", "_NAME", "_RUN_LIMIT"},
    "tree.log": {"_NUMBERS", "_NONE", "_BYTES", "_DELTA", "_CHUNK", "_ZEROS", "_MARK", "_GAP"},
}
"""Constants that make reading fast, and are no part of the format: it says the same in other words."""


def _shown(value: Any) -> str | None:
    """A constant as the table has it."""
    match value:
        case struct.Struct():
            return f"`{value.format}`, {value.size} bytes"
        case bytes():
            return f"`{value.decode()}`"
        case str():
            return f"`{value}`"
        case bool():
            return None
        case int():
            return str(value)
    return None


def _constants(module: str) -> dict[str, str]:
    """The constants that a module itself assigns."""
    code = ast.parse((SRC / f"{module.replace('.', '/')}.py").read_bytes())
    found: dict[str, str] = {}
    loaded = importlib.import_module(f"knowngood.{module}")
    for node in code.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        names = [name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        for name in (each.id for each in names if each.id.isupper()):
            shown = _shown(getattr(loaded, name))
            if shown is not None and name not in ASIDE.get(module, ()):
                found[name] = shown
    return found


@pytest.mark.parametrize("module", MODULES)
def test_the_table_of_constants_is_that_of_the_code(module: str) -> None:
    rows = re.findall(rf"^\| {re.escape(module)} \| `(\w+)` \| (.*) \|$", TABLE, re.MULTILINE)
    assert dict(rows) == _constants(module)


def test_the_table_has_no_other_modules() -> None:
    assert {row.split(" | ")[0] for row in re.findall(r"^\| (.* \| `.*)$", TABLE, re.MULTILINE)} == set(MODULES)


def test_every_structure_is_described() -> None:
    """Outside of the table as well, where its fields are explained."""
    formats = {
        value.format
        for path in SRC.glob("*/*.py")
        if path.parent.name in ("seal", "tree", "vault")
        for name, value in vars(importlib.import_module(f"knowngood.{path.parent.name}.{path.stem}")).items()
        if isinstance(value, struct.Struct) and name not in ASIDE.get(f"{path.parent.name}.{path.stem}", ())
    }
    assert len(formats) >= 9
    assert {each for each in formats if f"`{each}`" not in BODY} == set()


def test_offsets_add_up() -> None:
    """In each table with offsets and lengths, one field begins where the one before it ends."""
    for table in re.findall(r"\| offset \| bytes \|.*\n\|[-|]+\n((?:\|.*\n)+)", BODY):
        at = 0
        for offset, length in re.findall(r"^\| (\d+) \| (\d+) \|", table, re.MULTILINE):
            assert int(offset) == at, table
            at += int(length)


RECORDS: list[Any] = [
    Checkpoint, Judgement, Point, Problem, Totals, Commit, Expiry, Fence, Hidden, PlainCheckpoint, PlainPoint, Undo,
    Epoch, SessionCard, Extra, PlainSegment, FoldedSegment, Thinned, Unthinned, Position, LogRecord,
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_of_every_record_is_named(record: type[msgspec.Struct]) -> None:
    words = set(re.findall(r"\w+", BODY))
    assert {field.encode_name for field in msgspec.structs.fields(record)} <= words
    tag = record.__struct_config__.tag
    assert tag is None or f"| `{tag}` |" in BODY


@pytest.mark.parametrize("values", [Level, Status])
def test_every_word_that_a_record_can_hold_is_named(values: type[Level] | type[Status]) -> None:
    assert {value for value in values if f"`{value}`" not in BODY} == set()


@pytest.mark.parametrize("codes", [FrameKind, Content])
def test_every_code_is_named(codes: type[IntEnum]) -> None:
    assert {code for code in codes if f"{int(code)} {code.name}" not in BODY} == set()


def test_every_codec_and_kind_of_pack_is_named() -> None:
    assert {code.name for code in Codec} == {"STORED", "ZSTD"}
    assert "0 stored, 1 zstd" in BODY
    assert {code.name for code in PackKind} == {"DATA", "PAGES", "SEGMENT"}
    assert "1 content (DATA frames), 2 pages (PAGE frames), 3 segment" in BODY


def test_every_member_of_the_documents_is_named() -> None:
    made = documents()
    for document in (unchecked(made["descriptor"].encode()), unchecked(made["key-file"].encode())):
        assert {member for member in document if f"| `{member}` |" not in BODY} == set()
        for member in document.get("lock", ()):
            assert f'"{member}"' in BODY
    assert all(f'"{operation}": […]' in BODY for operation in OPERATIONS)
    assert {Descriptor, KeyFile}


def test_every_purpose_is_named() -> None:
    for purpose in (key_purpose(b""), naming_purpose(b""), previous_purpose(b"")):
        assert f'`"{purpose.decode()}"` + vault id' in BODY


def _pattern(form: str) -> re.Pattern[str]:
    text = re.sub(r"<(\d+) hex>", r"[0-9a-f]{\1}", form.replace(".", r"\."))
    return re.compile(re.sub(r"<(\d+) digits>", r"[0-9]{\1}", text))


def test_keys_of_objects_have_the_forms_of_the_table() -> None:
    """`<n hex>` and `<n digits>` in the table, against the keys that the code makes."""
    rows = re.findall(r"^\| (`.*?) \|", BODY.split("## 3.")[0], re.MULTILINE)
    patterns = [_pattern(form) for row in rows for form in re.findall(r"`([^`]+)`", row)]
    name, identifier = bytes(range(32)), bytes(range(16))
    keys = [pack_key(kind, name) for kind in PackKind] + [
        run_key(name),
        commit_key(identifier, 7),
        session_key(identifier),
    ]
    keys += [parity_key(PARITY_PACKS, name), parity_key(PARITY_LOGS, name), healed_key(name)]
    keys += [epoch_key(12), key_file(name), key_file(name, ".copy")]
    assert [key for key in keys if not any(pattern.fullmatch(key) for pattern in patterns)] == []


def test_the_masks_are_those_of_the_chunker() -> None:
    rows = re.findall(r"\| (\d+) \| ([0-9a-f]{16}) ", BODY)
    table = {int(bits): int(mask, 16) for bits, mask in rows}
    assert table == MASK == {bits: MASKS[bits] for bits in range(5, 26)}
    assert all(mask.bit_count() == bits for bits, mask in table.items())


def test_every_code_of_the_log_is_in_its_table() -> None:
    """Operations and forms by their numbers, elements by their places, reasons of gaps in the words of the row."""
    section = BODY.split("## 15.")[1].split("## 16.")[0]
    elements, operations, forms = (
        re.findall(r"^\| (\d+) \| (.*?) \| ?", part, re.MULTILINE) for part in _tables(section)[1:4]
    )
    assert dict(elements) == {str(place): name for place, name in enumerate(LogRecord.__struct_fields__)}
    assert dict(operations) == {str(int(each)): each.name.lower() for each in Operation}
    assert [number for number, _ in forms] == [str(int(each)) for each in Form]
    assert "`value`: " + ", ".join(f"{int(gap)} {_GAPS[gap]}" for gap in Gap) in section


_GAPS = {Gap.OVERFLOW: "overflow", Gap.NOT_RUNNING: "capture was not running", Gap.OTHER: "other"}


def _tables(section: str) -> list[str]:
    return re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)


def test_every_invariant_that_code_speaks_of_is_there() -> None:
    stated = set(re.findall(r"\*\*(INV-\d+)\*\*", BODY))
    assert stated == {f"INV-{number}" for number in range(1, len(stated) + 1)}
    spoken = {each for path in [*SRC.rglob("*.py"), *Path(ROOT / "tests").rglob("*.py")] for each in _invariants(path)}
    assert spoken <= stated


def _invariants(path: Path) -> set[str]:
    return set(re.findall(r"INV-\d+", path.read_text())) if path.name != Path(__file__).name else set()


def test_lines_are_short() -> None:
    long = [number for number, line in enumerate(TEXT.splitlines(), 1) if len(line) > 120 and line[0] != "|"]
    assert long == []

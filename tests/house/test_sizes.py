"""Small parts: files, functions and ports."""

from __future__ import annotations

import ast

from tests.house.files import SRC, parsed, python_files, short

FILE_LINES = 400
FUNCTION_LINES = 50
PORT_METHODS = 8

# path → why it may be longer
LONG_FILES: dict[str, str] = {
    "rescue.py": "it must be one file, and readable as a test of docs/format.md",
}

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_files_are_short() -> None:
    """No file has more than 400 lines without a written reason."""
    lengths = {short(path): len(path.read_bytes().splitlines()) for path in python_files()}
    assert {name: n for name, n in lengths.items() if n > FILE_LINES and name not in LONG_FILES} == {}


def test_functions_are_short() -> None:
    """No function has more than 50 lines."""
    long = {
        f"{short(path)}:{node.lineno} {node.name}": lines
        for path in python_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, _FUNCTIONS)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    }
    assert long == {}


def test_ports_have_few_methods() -> None:
    """No port has more than eight methods; `traits` is no method, but declared data."""
    counts = {
        node.name: sum(isinstance(each, _FUNCTIONS) and each.name != "traits" for each in node.body)
        for node in parsed(SRC / "core" / "ports.py").body
        if isinstance(node, ast.ClassDef)
    }
    assert {name: n for name, n in counts.items() if n > PORT_METHODS} == {}

"""Imports go down only (pyproject.toml, section importlinter), and the two lowest floors do no I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.house.files import ROOT, parsed, python_files, short

PURE = ("core", "wire", "seal", "tree")
_OS_WITHOUT_IO = {"fsdecode", "fsencode", "fspath", "urandom", "PathLike"}


def test_import_contracts_hold() -> None:
    """What `make floors` checks."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _io(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Call(func=ast.Name(id="open" | "print" | "input" as name)):
                yield f"{short(path)}:{node.lineno} {name}"
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name not in _OS_WITHOUT_IO:
                yield f"{short(path)}:{node.lineno} os.{name}"
            case ast.ImportFrom(module="os", names=names) if {n.name for n in names} - _OS_WITHOUT_IO:
                yield f"{short(path)}:{node.lineno} from os"


def test_low_floors_do_no_io() -> None:
    """They open nothing, and use `os` for names and random bytes only."""
    folders = [f"src/knowngood/{room}" for room in PURE]
    assert [line for path in python_files(*folders) for line in _io(path)] == []

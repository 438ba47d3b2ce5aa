"""What must, and what must not, be written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from tests.house.files import ROOT, SRC, parsed, project_files, python_files, short

# One letter of each stands in brackets, so that this file passes its own test.
FOREIGN = re.compile(
    rb"/wor[k]/|far[m]-|\.librar[y]"  # somebody's machine
    rb"|pypi\.or[g]|pythonhoste[d]\.org|registry\.npmj[s]|(?:index-ur[l]|find-link[s])[ =]*https?:"  # a registry
)
UNFINISHED = re.compile(rb"\b(?:TODO|FIXME|XXX|HACK)\b|\bNotImplementedError\b")


def _lines(pattern: re.Pattern[bytes], paths: tuple[Path, ...]) -> list[str]:
    return [
        f"{short(path)}:{number}: {found[0].decode()}"
        for path in paths
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if (found := pattern.search(line))
    ]


def test_files_speak_of_the_project_only() -> None:
    """No file names the machine it was written on, or the registry that packages come from."""
    assert _lines(FOREIGN, project_files()) == []


def test_src_is_finished() -> None:
    """What is not there yet is an issue, not a comment."""
    assert _lines(UNFINISHED, python_files("src")) == []


def test_rooms_tell_their_job() -> None:
    """Every folder of code is a package whose docstring says its one job."""
    rooms = {path.parent for path in python_files("src") if path.is_relative_to(SRC)}
    silent = [
        short(room)
        for room in sorted(rooms)
        if not (room / "__init__.py").is_file() or not ast.get_docstring(parsed(room / "__init__.py"))
    ]
    assert silent == []


def test_modules_tell_their_job() -> None:
    """Every file of code begins with a docstring."""
    assert [short(path) for path in python_files() if not ast.get_docstring(parsed(path))] == []


def test_ports_are_documented() -> None:
    """The docstrings of the ports are the contract: every class and method has one."""
    ports = parsed(SRC / "core" / "ports.py")
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    named = chain.from_iterable(
        [node, *(each for each in ast.iter_child_nodes(node) if isinstance(each, kinds))]
        for node in ports.body
        if isinstance(node, kinds)
    )
    silent = [f"{node.lineno} {node.name}" for node in named if not ast.get_docstring(node)]
    assert silent == []


def _sleeps(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep"), args=[ast.Constant(value=0)]):
                continue  # lets others run, and does not wait
            case ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep"):
                yield f"{short(path)}:{node.lineno}"
            case ast.ImportFrom(module="time" | "asyncio", names=names) if any(n.name == "sleep" for n in names):
                yield f"{short(path)}:{node.lineno}"


def test_tests_do_not_sleep() -> None:
    """A test waits for an event or moves a fake clock; the wall clock makes it slow and wrong."""
    assert [line for path in python_files("tests") for line in _sleeps(path)] == []


def test_changelog_has_room_for_the_next_release() -> None:
    """Each change adds a line under Unreleased."""
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text().splitlines()


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_locks_are_whole(name: str) -> None:
    """Every locked package has one exact version and hashes, and comes from wherever the machine says."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    packages = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert packages
    assert [line for line in packages if not re.match(r"[a-z0-9.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []
    assert "://" not in text

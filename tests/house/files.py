"""The project's own files, as the house rules see them."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "knowngood"
_CODE = ("src", "tests", "tools", "bench")
_SKIPPED = {"__pycache__", "build", "dist"}


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, committed; outside of a checkout, all but hidden and made ones."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=False,
        capture_output=True,
    )
    if listing.returncode == 0:
        found = [ROOT / name.decode() for name in listing.stdout.split(b"\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not _is_made(path.relative_to(ROOT))]
    return tuple(sorted(path for path in found if path.is_file()))


def _is_made(path: Path) -> bool:
    return any(part in _SKIPPED or (part.startswith(".") and part != ".ci") for part in path.parts)


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Python files below these folders, all code when none is named."""
    places = [ROOT / folder for folder in folders or _CODE]
    return tuple(
        path for path in project_files() if path.suffix == ".py" and any(path.is_relative_to(place) for place in places)
    )


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_bytes(), filename=str(path))


def short(path: Path) -> str:
    """A path as the reader knows it, relative to the project."""
    return str(path.relative_to(ROOT))

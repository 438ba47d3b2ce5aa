"""What is left out where a home lies inside of what is protected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knowngood.control.derived import ours_inside, without_derived
from knowngood.control.forms import Config
from knowngood.control.home import Home
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.kinds.files.exclude import Exclusions


def _service(path: Path, kind: str = "files") -> ServiceSpec:
    return ServiceSpec(name="x", components=(ComponentSpec(name="c", kind=kind, path=str(path), exclude=("*.tmp",)),))


@pytest.mark.parametrize("inside", ["", "home", "a/b [c]*\\/home"])
def test_what_is_derived_is_left_out(inside: str, tmp_path: Path) -> None:
    """Whatever its folders are called; and nothing else is."""
    home = Home.at(str(tmp_path / inside))
    exclude = without_derived(home, _service(tmp_path)).components[0].exclude
    patterns = Exclusions(exclude)
    above = os.fsencode(inside) + b"/" if inside else b""
    for name in (b"catalog.sqlite", b"catalog.sqlite-wal", b"lapses.json", b"up.lock", b"any.tmp"):
        assert patterns.match(above, name, False)
        assert name == b"any.tmp" or not patterns.match(above + b"other/", name, False)
    assert patterns.match(above, b"state", True)
    for name in (b"services", b"keys", b"drills", b"checks", b"former"):
        assert not patterns.match(above, name, True)
    assert not patterns.match(above, b"config.yaml", False)


def test_elsewhere_nothing_is(tmp_path: Path) -> None:
    """Beside it, above it, and of databases."""
    home = Home.at(str(tmp_path / "home"))
    for service in (_service(tmp_path / "hom"), _service(tmp_path / "home" / "x"), _service(tmp_path, "sqlite")):
        assert without_derived(home, service) is service


def test_what_is_said(tmp_path: Path) -> None:
    """Of a home without a vault, only of the home; through a symlink as well."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    home = Home.at(str(tmp_path / "data" / "home"))
    assert len(list(ours_inside(home, _service(tmp_path / "link")))) == 1
    home.write_config(Config(vault=str(tmp_path / "data" / "vault")))
    assert len(list(ours_inside(home, _service(tmp_path / "link")))) == 2
    assert list(ours_inside(home, _service(tmp_path / "data" / "other"))) == []

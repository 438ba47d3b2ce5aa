"""A vault with files in it, and the file system that shows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knowngood.core.model import ComponentSpec, Point, ServiceSpec
from knowngood.doors.mount import shelf as shelf_module
from knowngood.doors.mount.filesystem import FileSystem
from knowngood.doors.mount.shelf import Shelf
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.kinds.files import FilesKind
from knowngood.testing.vaults import SmallVault
from tests.leaks import nothing_left_behind
from tests.unit.flow.notes import small_vault
from tests.unit.mount.kernel import Kernel

__all__ = ["nothing_left_behind"]


@pytest.fixture
def vault() -> SmallVault:
    """An empty one."""
    return small_vault()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What is protected as the component `data`."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_bytes(b"content " * 1000)
    os.link(folder / "file", folder / "sub" / "same")
    (folder / "link").symlink_to("sub/same")
    (folder / "tiny").write_bytes(b"tiny")
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(512 << 10)
        file.write(b"x" * 4096)
    return folder


@pytest.fixture
def parts(vault: SmallVault, tmp_path: Path) -> Parts:
    """With the kind of files."""
    (tmp_path / "state").mkdir()
    kinds = {"files": FilesKind()}
    return Parts(vault.vault, vault.catalog, lambda: kinds, lambda _: str(tmp_path / "state"), lambda: vault.private)


@pytest.fixture
def point(parts: Parts, data: Path) -> Callable[..., Point]:
    """Makes a point of a service with the component `data`, or with others."""

    def make(service: str = "shop", **components: Path) -> Point:
        specs = [ComponentSpec(name=name, kind="files", path=str(path)) for name, path in components.items()]
        default = ComponentSpec(name="data", kind="files", path=str(data))
        return protect(ServiceSpec(name=service, components=tuple(specs) or (default,)), parts).point

    return make


@pytest.fixture
def troubles() -> list[tuple[str, str]]:
    """What could not be read."""
    return []


@pytest.fixture
def shelf(parts: Parts, point: Callable[..., Point]) -> Iterator[Shelf]:
    """After a first point."""
    point()
    with Shelf(parts) as shelf:
        yield shelf


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is known of the vault counts as fresh."""
    monkeypatch.setattr(shelf_module, "FRESH_SECONDS", -1)


@pytest.fixture
def files(shelf: Shelf, troubles: list[tuple[str, str]]) -> FileSystem:
    """What is mounted."""
    return FileSystem(shelf, lambda path, reason: troubles.append((path, reason)))


@pytest.fixture
def kernel(files: FileSystem) -> Kernel:
    """Who asks."""
    return Kernel(files)

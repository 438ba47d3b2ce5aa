"""Markers, fixtures and profiles for all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.loops import FILE_SYSTEMS, Mounts, own_mounts

_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# Machines differ in speed: no deadlines. `ci` is the same on every run; `quick` looks elsewhere each time.
_HEALTH = (HealthCheck.too_slow,)
settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=_HEALTH)
settings.register_profile(
    "ci", max_examples=200, deadline=None, derandomize=True, print_blob=True, suppress_health_check=_HEALTH
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure() -> None:
    """Before any thread of ours starts: mounts of this process are its own, and vanish with it."""
    os.environ["PATH"] = os.pathsep.join(dict.fromkeys([*os.environ["PATH"].split(os.pathsep), *_SBIN]))
    own_mounts()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use a loop-mounted file system are marked so."""
    fixtures = {"mounts", *(f"{kind}_dir" for kind in FILE_SYSTEMS)}
    for item in items:
        if fixtures.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("loop")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, what this machine cannot run."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    for marker in item.iter_markers("needs"):
        for command in marker.args:
            if not shutil.which(command):
                pytest.skip(f"needs the command {command} (tools/system-packages)")


@pytest.fixture(scope="session")
def is_root() -> bool:
    """Whether the tests run as root."""
    return os.geteuid() == 0


@pytest.fixture(scope="session")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    """Makes loop-mounted file systems: `mounts.make("ext4", 64)` is a fresh one of 64 MiB, or a skip."""
    made = Mounts(tmp_path_factory.mktemp("loops"))
    yield made
    made.close()


def _fresh_dir(mounts: Mounts, kind: str) -> Iterator[Path]:
    folder = mounts.fresh_dir(kind)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def xfs_dir(mounts: Mounts) -> Iterator[Path]:
    """An empty folder on XFS with reflinks."""
    yield from _fresh_dir(mounts, "xfs")


@pytest.fixture
def btrfs_dir(mounts: Mounts) -> Iterator[Path]:
    """An empty folder on btrfs, not itself a subvolume."""
    yield from _fresh_dir(mounts, "btrfs")


@pytest.fixture
def ext4_dir(mounts: Mounts) -> Iterator[Path]:
    """An empty folder on ext4."""
    yield from _fresh_dir(mounts, "ext4")

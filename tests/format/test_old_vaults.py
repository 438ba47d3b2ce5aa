"""Vaults of every released format stay readable for ever, by the program and by rescue.py."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from knowngood.core.errors import Unsupported
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource
from knowngood.core.progress import Progress
from knowngood.flow.look import file_content
from knowngood.seal.keys import parse_recovery_text
from knowngood.stores.disk import DiskStore
from knowngood.tree.block import Entry
from knowngood.tree.read import TreeReader
from knowngood.vault.catalog import Catalog
from knowngood.vault.check import check
from knowngood.vault.collect import collect
from knowngood.vault.descriptor import OPERATIONS
from knowngood.vault.layout import COMMITS, SEGMENTS
from knowngood.vault.log_writer import LogWriter
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.unlock import unlock_with_passphrase, unlock_with_recovery_key, writer_key
from knowngood.vault.vault import Vault, open_vault
from tests.format.fixture import summary
from tests.format.rescuing import rescue
from tests.format.shapes import seen, walk

HOMES = sorted((Path(__file__).with_name("vaults")).iterdir())


@pytest.fixture(params=HOMES, ids=lambda home: home.name)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one of them: reading announces itself in the vault."""
    return shutil.copytree(request.param, tmp_path / "home")


def expected(home: Path) -> dict[str, Any]:
    return json.loads((home / "expected.json").read_text())


def opened(home: Path) -> tuple[Vault, Catalog, Any]:
    store = DiskStore(home / "vault")
    private = unlock_with_recovery_key(store, parse_recovery_text((home / "recovery-key.txt").read_text()))
    vault, catalog = open_vault(store, writer_key(store, private)), Catalog(":memory:")
    catalog.follow(store, private, vault.id)
    return vault, catalog, private


def description(entry: Entry, content: bytes) -> dict[str, Any]:
    """As tests/format/shapes.py describes."""
    found: dict[str, Any] = {"mode": f"{entry.mode:o}", "owner": [entry.uid, entry.gid], "mtime": entry.mtime_ns}
    if entry.is_file:
        found |= {"size": entry.size, "content": blake3(content).hexdigest()}
    if stat.S_ISLNK(entry.mode):
        found["target"] = entry.inline.hex()
    if entry.extra.rdev:
        found["rdev"] = entry.extra.rdev
    if entry.extra.xattrs:
        found["xattrs"] = {name.decode(): value.hex() for name, value in entry.extra.xattrs}
    if entry.is_file and entry.links > 1:
        found["twin"] = True
    return found


def _described(tree: TreeReader, pages: PageSource) -> dict[bytes, dict[str, Any]]:
    contents = ((each, file_content(tree, pages, each) if each.is_file else ()) for each in tree.entries())
    return {entry.path: description(entry, b"".join(map(bytes, content))) for entry, content in contents}


def trees(vault: Vault, catalog: Catalog, private: Any) -> list[dict[str, Any]]:
    """What the points of a vault hold."""
    found: list[dict[str, Any]] = []
    points = [*catalog.points(), *catalog.points(expired=True)]
    with vault.session("read") as session:
        pages = vault.reader(session, private)
        for point in sorted(points, key=lambda each: each.moment_ns):
            checkpoints = [catalog.checkpoint(mark.checkpoint) for mark in point.marks]
            roots = {each.component: TreeReader(Name(each.root), pages.page) for each in checkpoints}
            described = {component: summary(_described(tree, pages)) for component, tree in roots.items()}
            found.append({"id": point.id.hex(), "name": point.name, "trees": described})
    return found


def test_the_program_reads_everything(home: Path) -> None:
    vault, catalog, private = opened(home)
    wanted = expected(home)
    assert vault.id.hex() == wanted["vault-id"]
    assert catalog.damaged() == {}
    assert trees(vault, catalog, private) == wanted["points"]
    assert [point.name for point in catalog.points(expired=True)] == [wanted["points"][0]["name"]]


def test_the_passphrase_opens_it(home: Path) -> None:
    store = DiskStore(home / "vault")
    passphrase = (home / "passphrase.txt").read_text().strip().encode()
    private = unlock_with_passphrase(store, passphrase)
    assert private.recovery_key == parse_recovery_text((home / "recovery-key.txt").read_text())
    assert len(private.previous) == 1


def test_it_checks_collects_and_rebuilds(home: Path) -> None:
    vault, catalog, private = opened(home)
    assert check(vault, catalog, Progress(), read_data=True).findings == []
    collect(vault, Progress())
    shutil.rmtree(home / "vault" / "index")
    rebuild_index(vault, Progress())
    assert check(vault, catalog, Progress(), read_data=True).findings == []
    assert trees(vault, catalog, private) == expected(home)["points"]


def test_it_takes_no_log(home: Path) -> None:
    """It was made when there were none: programs of that time would take what a log needs for garbage."""
    vault, catalog, _ = opened(home)
    assert vault.descriptor.features == dict.fromkeys(OPERATIONS, ())
    before = {each.key for folder in (COMMITS, SEGMENTS) for each in vault.store.list(folder)}
    with vault.session("follow", timelines=(b"t" * 16,)) as session, pytest.raises(Unsupported):
        LogWriter(vault, session, catalog, b"t" * 16)
    assert {each.key for folder in (COMMITS, SEGMENTS) for each in vault.store.list(folder)} == before


@pytest.mark.root
@pytest.mark.parametrize("key", ["recovery-key", "passphrase"])
def test_rescue_restores_everything(home: Path, key: str, tmp_path: Path) -> None:
    shutil.rmtree(home / "vault" / "index")
    shutil.rmtree(home / "vault" / "epochs")
    has_xattrs = _takes_xattrs(tmp_path)
    for point in expected(home)["points"]:
        to = tmp_path / point["id"]
        done = rescue(home / "vault", f"--{key}-file", home / f"{key}.txt", "restore", point["id"][:8], "--to", to)
        if has_xattrs:
            assert (done.status, done.err) == (0, "")
        assert sorted(os.listdir(to)) == sorted(point["trees"])
        for component, wanted in point["trees"].items():
            found = summary(walk(os.fsencode(to / component), lambda path: seen(path, xattrs=has_xattrs)))
            if has_xattrs:
                assert found == wanted
            assert found["entries"].keys() == wanted["entries"].keys()


def _takes_xattrs(folder: Path) -> bool:
    try:
        os.setxattr(folder, "user.test", b"")
    except OSError:
        return False
    return True


def test_rescue_lists_the_points(home: Path) -> None:
    done = rescue(home / "vault", "--recovery-key-file", home / "recovery-key.txt", "list")
    assert done.status == 0
    lines = done.out.splitlines()
    for line, point in zip(lines, expected(home)["points"], strict=True):
        assert line.startswith(point["id"])
        assert line.endswith(point["name"])
    assert "expired" in lines[0]
    assert "expired" not in lines[1]

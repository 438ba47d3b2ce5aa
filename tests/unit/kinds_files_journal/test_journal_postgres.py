"""A PostgreSQL server that works in a journalled folder: cut at any write, it starts, and everything is consistent."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knowngood.tree.block import ROW
from tests.mounted import needs_fuse
from tests.servers.following import open_folder
from tests.servers.postgres import Postgres
from tests.unit.kinds_files_journal.journalling import Journalled, State

pytestmark = [pytest.mark.root, needs_fuse, pytest.mark.slow, pytest.mark.timeout(900)]
_CUTS = 5
_CLIENTS, _EACH = 2, 100
_SUMS = (
    "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),"
    " (select sum(bbalance) from pgbench_branches), coalesce(sum(delta), 0), count(*) from pgbench_history"
)


@contextmanager
def _site(base: Path) -> Iterator[Journalled]:
    """A journalled folder that servers of other users reach."""
    with open_folder() as folder:
        there = folder / "site"
        there.mkdir()
        subprocess.run(["mount", "--bind", base, there], check=True)
        there.chmod(0o711)
        try:
            site = Journalled(there)
            try:
                site.settle()
                yield site
            finally:
                site.end()
        finally:
            subprocess.run(["umount", "-l", there], check=True)


def test_any_write_of_a_server(xfs_dir: Path) -> None:
    """Made, filled and worked on through the mount; checked at random writes: sums, every index, every page."""
    with _site(xfs_dir) as site:
        server = Postgres(site.tree, conf="fsync = on\n")
        try:
            server.run("pg_checksums", "--enable", "-D", server.data)
            server.start()
            server.run("pgbench", "-i", "-q", "-h", server.folder, "-U", "postgres", "postgres")
            server.sql("create extension amcheck")
            site.checkpoint()
            first = len(site.log)
            words = ("-n", "-c", str(_CLIENTS), "-t", str(_EACH), "-h", server.folder, "-U", "postgres", "postgres")
            server.run("pgbench", *words)
            site.tick()
        finally:
            server.stop("immediate")
        assert site.follower.standing.level == "journal"
        last = len(site.log)
        cuts = [*sorted(random.Random(5).sample(range(first, last), _CUTS)), last]
        counts = [_checked(server, site.at(sequence=cut), site.base / f"cut{cut}") for cut in cuts]
        assert counts == sorted(counts)
        assert counts[-1] == _CLIENTS * _EACH


def _checked(of: Postgres, state: State, folder: Path) -> int:
    """How many transactions a server knows that is started on this state; everything in it is consistent."""
    folder.mkdir()
    os.chown(folder, *of.ids)
    for path, found in sorted(state.items()):
        if path.startswith(b"data") and not path.endswith(b"postmaster.pid"):
            _laid(folder / os.fsdecode(path), found, of)
    server = Postgres.__new__(Postgres)
    server.folder, server.data, server.user = folder, folder / "data", of.user
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(f"unix_socket_directories = '{folder}'\n")
    server.start()
    try:
        *sums, count = server.sql(_SUMS).split("|")
        assert len(set(sums)) == 1
        server.run("pg_amcheck", "--heapallindexed", "-h", folder, "-U", "postgres", "postgres")
    finally:
        server.stop()
    server.run("pg_checksums", "--check", "-D", server.data)
    return int(count)


def _laid(path: Path, found: tuple[object, ...], of: Postgres) -> None:
    row, content = found[2], found[-1]
    assert isinstance(row, bytes)
    assert isinstance(content, bytes)
    mode = ROW.unpack(row)[0]
    if stat.S_ISDIR(mode):
        path.mkdir()
    elif stat.S_ISREG(mode):
        path.write_bytes(content)
    else:
        return
    path.chmod(stat.S_IMODE(mode))
    os.chown(path, *of.ids)

"""Somebody who changes a protected folder, and writes every change into its timeline's log."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from knowngood.control.home import Home
from knowngood.control.workshop import Workshop
from knowngood.core.instants import now_ns
from knowngood.core.log import Form, Gap, LogRecord, Operation
from knowngood.core.model import Checkpoint, Point, Position
from knowngood.plugins import PLUGINS
from knowngood.tree.block import ROW
from knowngood.vault.catalog import Catalog
from knowngood.vault.log_reader import START
from knowngood.vault.log_writer import LogWriter
from knowngood.vault.session import Session
from knowngood.vault.vault import Vault
from tests.user import User


class Recorder:
    """Changes of one component's folder; each is done on disk, and becomes durable in the log at `commits`.

    Times are those of the wall clock, which tests hold in their hands (`FakeClock`).
    """

    def __init__(self, user: User, folder: Path, service: str = "shop") -> None:
        self.user = user
        self.folder = folder
        self.service = service
        self._waiting: list[dict[str, Any]] = []

    # ------------------------------------------------------------------------------------------------- changes

    def write(self, path: str, data: bytes, offset: int = 0) -> None:
        """Bytes into a file that is there."""
        with (self.folder / path).open("r+b") as file:
            file.seek(offset)
            file.write(data)
        self._note(Operation.WRITE, path, offset=offset, length=len(data), form=Form.BYTES, data=data)

    def truncate(self, path: str, length: int) -> None:
        """Another end of a file."""
        os.truncate(self.folder / path, length)
        self._note(Operation.TRUNCATE, path, length=length)

    def create(self, path: str, data: bytes = b"") -> None:
        """A new file."""
        (self.folder / path).write_bytes(data)
        self._note(Operation.CREATE, path, form=Form.BYTES if data else Form.NONE, data=data, length=len(data))
        self._touched(path)

    def mkdir(self, path: str) -> None:
        """A new folder."""
        (self.folder / path).mkdir()
        self._note(Operation.CREATE, path)
        self._touched(path)

    def unlink(self, path: str) -> None:
        """A file, or an empty folder, goes."""
        there = self.folder / path
        if there.is_dir() and not there.is_symlink():
            there.rmdir()
        else:
            there.unlink()
        self._note(Operation.UNLINK, path, row=b"")
        self._touched(path)

    def link(self, path: str, second: str) -> None:
        """One name more for a file that is there."""
        (self.folder / path).hardlink_to(self.folder / second)
        self._note(Operation.LINK, path, second=_key(second))
        self._touched(path)

    def rename(self, path: str, second: str) -> None:
        """Another name."""
        (self.folder / path).rename(self.folder / second)
        self._note(Operation.RENAME, path, second=_key(second), row=self._row(second))
        for each in dict.fromkeys((os.path.dirname(path), os.path.dirname(second))):
            self._note(Operation.TIMES, each)

    def chmod(self, path: str, mode: int) -> None:
        """Other rights."""
        (self.folder / path).chmod(mode)
        self._note(Operation.MODE, path)

    def gap(self) -> None:
        """Something was lost before this."""
        self._waiting.append({"operation": Operation.GAP, "time_ns": now_ns(), "value": Gap.OVERFLOW})

    def _note(self, operation: Operation, path: str, **rest: Any) -> None:
        row = {} if "row" in rest else {"row": self._row(path)}
        self._waiting.append({"operation": operation, "path": _key(path), "time_ns": now_ns(), **rest, **row})

    def _touched(self, path: str) -> None:
        self._note(Operation.TIMES, os.path.dirname(path))

    def _row(self, path: str) -> bytes:
        seen = os.lstat(self.folder / path)
        is_folder = stat.S_ISDIR(seen.st_mode)
        sizes = (0, 0) if is_folder else (seen.st_nlink, seen.st_size)
        return ROW.pack(seen.st_mode, seen.st_uid, seen.st_gid, *sizes, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)

    # --------------------------------------------------------------------------------------------------- the vault

    def commits(self, *, anew: bool = False) -> Position:
        """What was done so far becomes durable; the position after it."""
        with self._open() as shop:
            timeline = self._timeline(shop.catalog)
            with shop.vault.session("follow", timelines=(timeline,)) as session:
                writer = LogWriter(shop.vault, session, shop.catalog, timeline, anew=anew)
                first = writer.next_sequence
                writer.append(LogRecord(sequence=first + at, **each) for at, each in enumerate(self._waiting))
                self._waiting.clear()
                return writer.commit()

    def protects(self, *words: str) -> dict[str, Any]:
        """A point whose checkpoint stands at the end of the log."""
        commit = Vault.commit_point

        def placed(
            vault: Vault, session: Session, catalog: Catalog, point: Point, checkpoints: tuple[Checkpoint, ...]
        ) -> Point:
            def place(each: Checkpoint) -> Checkpoint:
                newest = catalog.log.newest(each.timeline)
                return replace(each, position=Position(newest.end, newest.last) if newest else START)

            mine = (place(each) if each.source == str(self.folder) else each for each in checkpoints)
            return commit(vault, session, catalog, point, tuple(mine))

        with patch.object(Vault, "commit_point", placed):
            return self.user.protects(self.service, *words)

    def thins(self, first: int, end: int) -> None:
        """A part of the log is let go."""
        with self._open() as shop, shop.vault.session("thin", freeing=True) as session:
            shop.vault.thin(session, shop.catalog, self._timeline(shop.catalog), first, end, 0)

    def segments(self) -> list[Path]:
        """The files of the log, the oldest first."""
        with self._open() as shop:
            log = shop.catalog.log.covering(self._timeline(shop.catalog), 0)
            return [next(self.user.vault.glob(f"segments/*/{each.pack.hex()}")) for each in log]

    @contextmanager
    def _open(self) -> Iterator[Workshop]:
        shop = Workshop(Home.at(str(self.user.home)), PLUGINS)
        try:
            yield shop
        finally:
            shop.close()

    def _timeline(self, catalog: Catalog) -> bytes:
        point = catalog.points(self.service)[0]
        checkpoints = (catalog.checkpoint(mark.checkpoint) for mark in point.marks)
        return next(each.timeline for each in checkpoints if each.source == str(self.folder))


def _key(path: str) -> bytes:
    return path.encode().replace(b"/", b"\0")

"""The one file that names every plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from knowngood.control.plugins import Plugins
from knowngood.core.ports import Kind, Store

if TYPE_CHECKING:
    from knowngood.control.up.followers import Followed, Follower


def open_store(location: str) -> Store:
    """The store at a location: a folder."""
    from knowngood.stores.disk import DiskStore

    return DiskStore(location)


class Kinds(Mapping[str, Kind]):
    """Every kind by its name. Each is made when it is first asked for, so that a command loads only what it needs."""

    def __init__(self) -> None:
        self._made: dict[str, Kind] = {}

    def __getitem__(self, name: str) -> Kind:
        if name not in self._made:
            self._made[name] = _KINDS[name](self)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_KINDS)

    def __len__(self) -> int:
        return len(_KINDS)


def _files(_: Kinds) -> Kind:
    from knowngood.kinds.files import FilesKind

    return FilesKind()


def _mariadb(kinds: Kinds) -> Kind:
    from knowngood.kinds.mariadb import mariadb_kind

    return mariadb_kind(kinds["files"])


def _postgres(kinds: Kinds) -> Kind:
    from knowngood.kinds.postgres import postgres_kind

    return postgres_kind(kinds["files"])


def _redis(kinds: Kinds) -> Kind:
    from knowngood.kinds.redis import redis_kind

    return redis_kind(kinds["files"])


def _sqlite(_: Kinds) -> Kind:
    from knowngood.kinds.files import FilesKind
    from knowngood.kinds.sqlite.kind import sqlite_kind

    return sqlite_kind(FilesKind())


_KINDS = {"files": _files, "mariadb": _mariadb, "postgres": _postgres, "redis": _redis, "sqlite": _sqlite}


def record(what: Followed) -> Follower:
    """What keeps the log of a component up to date."""
    from knowngood.control.up.recording import Recorder

    return Recorder(what, PLUGINS)


PLUGINS = Plugins(store=open_store, kinds=Kinds, followers={"watch": record, "clone": record, "journal": record})

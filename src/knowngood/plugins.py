"""The one file that names every plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from knowngood.control.plugins import Kinds, Plugins
from knowngood.core.ports import Kind, Store

if TYPE_CHECKING:
    from knowngood.control.up.followers import Followed, Follower


def open_store(location: str) -> Store:
    """The store at a location: a folder."""
    from knowngood.stores.disk import DiskStore

    return DiskStore(location)


def _files() -> Kind:
    from knowngood.kinds.files import FilesKind

    return FilesKind()


def _mariadb() -> Kind:
    from knowngood.kinds.mariadb import mariadb_kind

    return mariadb_kind(_files())


def _postgres() -> Kind:
    from knowngood.kinds.postgres import postgres_kind

    return postgres_kind(_files())


def _redis() -> Kind:
    from knowngood.kinds.redis import redis_kind

    return redis_kind(_files())


def _sqlite() -> Kind:
    from knowngood.kinds.sqlite.kind import sqlite_kind

    return sqlite_kind(_files())


def all_kinds() -> Mapping[str, Kind]:
    """Every kind by its name, each loaded when it is first asked for: none waits for the clients of other databases."""
    return Kinds({"files": _files, "mariadb": _mariadb, "postgres": _postgres, "redis": _redis, "sqlite": _sqlite})


def record(what: Followed) -> Follower:
    """What keeps the log of a component up to date."""
    from knowngood.control.up.recording import Recorder

    return Recorder(what, PLUGINS)


PLUGINS = Plugins(store=open_store, kinds=all_kinds, followers={"watch": record, "clone": record, "journal": record})

"""The one file that names every plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from knowngood.control.plugins import Plugins
from knowngood.core.ports import Kind, Store

if TYPE_CHECKING:
    from knowngood.control.up.followers import Followed, Follower


def open_store(location: str) -> Store:
    """The store at a location: a folder."""
    from knowngood.stores.disk import DiskStore

    return DiskStore(location)


def all_kinds() -> Mapping[str, Kind]:
    """Every kind by its name."""
    from knowngood.kinds.files import FilesKind
    from knowngood.kinds.mariadb import mariadb_kind
    from knowngood.kinds.postgres import postgres_kind
    from knowngood.kinds.redis import redis_kind
    from knowngood.kinds.sqlite.kind import sqlite_kind

    files = FilesKind()
    return {
        "files": files,
        "mariadb": mariadb_kind(files),
        "postgres": postgres_kind(files),
        "redis": redis_kind(files),
        "sqlite": sqlite_kind(files),
    }


def record(what: Followed) -> Follower:
    """What keeps the log of a component up to date."""
    from knowngood.control.up.recording import Recorder

    return Recorder(what, PLUGINS)


PLUGINS = Plugins(store=open_store, kinds=all_kinds, followers={"watch": record, "clone": record, "journal": record})

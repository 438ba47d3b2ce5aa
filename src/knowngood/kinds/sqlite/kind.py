"""What a SQLite component is: a database file at a path."""

from __future__ import annotations

import contextlib
import os
import stat

from knowngood.core.errors import NotFound, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Kind
from knowngood.core.traits import KindTraits
from knowngood.databases.feed import Feed
from knowngood.databases.kind import DatabaseKind, Folders, Ways
from knowngood.kinds.sqlite.feed import SqliteFeed
from knowngood.kinds.sqlite.link import Warden
from knowngood.kinds.sqlite.recovery import InPlace
from knowngood.kinds.sqlite.rows import open_rows
from knowngood.kinds.sqlite.sandbox import start_sandbox
from knowngood.kinds.sqlite.words import Request

TRAITS = KindTraits(name="sqlite", capture=("scan", "journal"), holds=True, parts=False)


def sqlite_kind(folders: Folders) -> Kind:
    """The kind `sqlite`; `folders` brings files back into folders."""
    return DatabaseKind(Ways(TRAITS, _probe, _feed, start_sandbox, _owner, open_rows, _follows), InPlace(folders))


def _probe(component: ComponentSpec) -> None:
    """Raise what is wrong with its path. The file is not opened: locks of SQLite in this process would go."""
    if not os.path.isabs(component.path):
        raise UsageError(f"the path '{component.path}' is not absolute", hint="begin it with /")
    try:
        seen = os.stat(component.path)
    except FileNotFoundError:
        raise NotFound(f"there is no database {component.path}", hint=f"look: ls -l {component.path}*") from None
    except OSError as wrong:
        raise UsageError(f"{component.path} cannot be looked at: {os.strerror(wrong.errno or 0).lower()}") from None
    if not stat.S_ISREG(seen.st_mode):
        hint = f"for a folder: {{kind: files, path: {component.path}}}"
        raise UsageError(f"{component.path} is no file, and a database of SQLite is one", hint=hint)


def _follows(component: ComponentSpec) -> None:
    """Raise Unsupported when there is no write-ahead log."""
    _probe(component)
    with contextlib.closing(Warden(os.path.realpath(component.path))) as warden:
        warden.ask(Request("begin"))


def _feed(component: ComponentSpec, state_dir: str) -> Feed:
    return SqliteFeed(os.path.realpath(component.path), os.path.basename(component.path), state_dir)


def _owner(component: ComponentSpec) -> tuple[int, int]:
    with contextlib.suppress(OSError):
        seen = os.stat(component.path)
        return seen.st_uid, seen.st_gid
    return os.geteuid(), os.getegid()

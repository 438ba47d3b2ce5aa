"""A recovered data folder of PostgreSQL made fit to be production again: replayed to its end, without our settings."""

from __future__ import annotations

import os
import re
from contextlib import suppress

from knowngood.core.model import ComponentSpec
from knowngood.databases.facts import FILE, FOLDER, Facts
from knowngood.databases.in_place import Place
from knowngood.databases.switch import remove
from knowngood.kinds.postgres import layout
from knowngood.kinds.postgres.sandbox import start_server

_OUR_STANDBY = re.compile(rb"^synchronous_standby_names = 'knowngood_\w*'\n", re.MULTILINE)
_END_SECONDS = 3600.0  # it writes everything that it replayed
_OURS = (layout.SETTINGS, layout.README, FILE.encode(), layout.MANIFEST, b"backup_label.old", b"postmaster.opts")


def _live(facts: Facts) -> str:
    return facts[FOLDER]


def _looks(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "PG_VERSION"))


def _ready(folder: str, facts: Facts, user: str) -> str:  # noqa: ARG001 - all is in the folder
    """It has begun a new timeline, and ended with a checkpoint, when this returns; then our settings go."""
    server = start_server(ComponentSpec(name="", kind="postgres", options={"dsn": ""}), folder, user)
    server.end(_END_SECONDS)
    clean(folder)
    return folder


def clean(folder: str) -> None:
    """What knowngood added to the folder goes: settings for a recovery, files that the server keeps elsewhere, and that
    commits wait for a standby of ours, as they did when the base was taken."""
    path = os.path.join(folder, os.fsdecode(layout.AUTO_CONF))
    with open(path, "r+b") as file:
        text = _OUR_STANDBY.sub(b"", file.read().partition(layout.AUTO.encode())[0])
        file.seek(0)
        file.write(text)
        file.truncate()
    paths = [os.path.join(folder, os.fsdecode(name)) for name in (layout.CONF, layout.HBA)]
    ours = [each for each in paths if _is_ours(each)]
    for each in (*ours, *(os.path.join(folder, os.fsdecode(name)) for name in _OURS)):
        remove(each)
    if ours and not os.path.getsize(there := os.path.join(folder, os.fsdecode(layout.IDENT))):
        remove(there)


def _is_ours(path: str) -> bool:
    with suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
        return file.readline() in layout.FIRST_LINES
    return False


PLACE = Place(("postgres",), "postgres", _live, _looks, _ready)
"""How it comes back in place."""

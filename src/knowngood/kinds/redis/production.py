"""A recovered Redis made fit to be production again: as the file that the server reads when it starts, and no other.

Its folder may be anybody's: only that file, or the folder of its append-only file, is replaced.
"""

from __future__ import annotations

import os
from contextlib import suppress

from knowngood.core.errors import KnowngoodError
from knowngood.databases.facts import FOLDER, Facts
from knowngood.databases.in_place import Place
from knowngood.kinds.redis.link import Link
from knowngood.kinds.redis.sandbox import start_server
from knowngood.wire.resp import Refused

_SECONDS = 3600.0
_SETTINGS = {"dir": FOLDER, "appendonly": "", "appenddirname": "", "appendfilename": "", "dbfilename": ""}


def facts_from(link: Link) -> Facts:
    """Where a server keeps its data, and how; nothing when it does not tell."""
    found: dict[str, str] = {}
    for setting, fact in _SETTINGS.items():
        with suppress(Refused, KnowngoodError):
            reply = link.ask("CONFIG", "GET", setting)
            if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[1], bytes):
                found[fact or setting] = os.fsdecode(reply[1])
    return found


def _appends(facts: Facts) -> bool:
    return facts.get("appendonly") == "yes"


def _live(facts: Facts) -> str:
    name = facts.get("appenddirname", "appendonlydir") if _appends(facts) else facts.get("dbfilename", "dump.rdb")
    return os.path.join(facts[FOLDER], os.path.basename(name))


def _looks(path: str) -> bool:
    if os.path.isdir(path):
        return any(name.endswith(".manifest") for name in os.listdir(path))
    with suppress(OSError), open(path, "rb") as file:
        return file.read(5) == b"REDIS"
    return False


def _ready(folder: str, facts: Facts, user: str) -> str:
    server = start_server(folder, user)
    try:
        if not _appends(facts):
            server.save(_SECONDS)
    except BaseException:
        server.stop()
        raise
    server.end(_SECONDS)
    if not _appends(facts):
        return os.path.join(folder, "dump.rdb")
    appended = os.path.join(folder, "appendonlydir")
    wanted = facts.get("appendfilename", "appendonly.aof") + ".manifest"
    os.rename(os.path.join(appended, "appendonly.aof.manifest"), os.path.join(appended, os.path.basename(wanted)))
    return appended


PLACE = Place(("redis-server",), "redis", _live, _looks, _ready)
"""How it comes back in place."""

"""A recovered MariaDB made fit to be production again: its base prepared, its binary log replayed."""

from __future__ import annotations

import os

from knowngood.databases.facts import FOLDER, Facts
from knowngood.databases.in_place import Place
from knowngood.databases.switch import remove
from knowngood.kinds.mariadb.sandbox import start_server

_END_SECONDS = 3600.0
_OF_THE_BASE = ("xtrabackup_", "mariadb_backup_", "backup-my.cnf")


def _live(facts: Facts) -> str:
    return facts[FOLDER]


def _looks(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "ibdata1"))


def _ready(folder: str, facts: Facts, user: str) -> str:  # noqa: ARG001 - all is in the folder
    """Every event is carried out, and the server has ended well. Its own binary log begins anew."""
    server = start_server(folder, user)
    server.end(_END_SECONDS)
    base = os.path.join(folder, "base")
    for name in os.listdir(base):
        if name.startswith(_OF_THE_BASE):
            remove(os.path.join(base, name))
    return base


PLACE = Place(("mariadbd", "mysqld"), "mysql", _live, _looks, _ready)
"""How it comes back in place."""

"""What a Redis component is, and what it asks of the server."""

from __future__ import annotations

import os
from contextlib import closing

from knowngood.core.errors import Unsupported
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Kind
from knowngood.core.traits import KindTraits, Option
from knowngood.databases.feed import Feed
from knowngood.databases.in_place import OPTION
from knowngood.databases.kind import DatabaseKind, Ways
from knowngood.kinds.redis.address import address_of
from knowngood.kinds.redis.feed import RedisFeed
from knowngood.kinds.redis.link import Link, fields
from knowngood.kinds.redis.production import PLACE
from knowngood.kinds.redis.rows import open_rows
from knowngood.kinds.redis.sandbox import start_sandbox

_OLDEST = 7

TRAITS = KindTraits(
    name="redis",
    capture=("scan", "journal"),
    holds=True,
    located=False,
    options=(
        Option("url", "redis://127.0.0.1:6379", required=True),
        Option("user", "backup"),
        Option("password-file", "/etc/knowngood/redis.secret"),
        Option(OPTION, "/var/lib/redis"),
    ),
)


def redis_kind(folders: Kind) -> Kind:
    """The kind `redis`; `folders` brings files back into folders."""
    return DatabaseKind(Ways(TRAITS, _probe, _feed, start_sandbox, _owner, open_rows, place=PLACE), folders)


def _probe(component: ComponentSpec) -> None:
    """Raise what is wrong: the address, the account, the version."""
    address = address_of(component)
    with closing(Link(address)) as link:
        told = fields(link.ask_text("INFO", "server"))
    version = told.get("redis_version", "?")
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < _OLDEST:
        hint = f"Redis {_OLDEST} writes logs that can be recovered to any moment"
        raise Unsupported(f"Redis at {address.text} is version {version}, and {_OLDEST} or newer is needed", hint=hint)


def _feed(component: ComponentSpec, state_dir: str) -> Feed:  # noqa: ARG001 - it keeps nothing of its own
    return RedisFeed(address_of(component))


def _owner(component: ComponentSpec) -> tuple[int, int]:  # noqa: ARG001 - the server's files are never seen
    return os.geteuid(), os.getegid()

"""What a PostgreSQL component is, and what it asks of the server."""

from __future__ import annotations

import hashlib
import os
import pwd
from contextlib import closing, suppress

from knowngood.core.errors import Unsupported, UsageError
from knowngood.core.model import ComponentSpec
from knowngood.core.ports import Kind
from knowngood.core.sizes import parse_size
from knowngood.core.traits import KindTraits, Option
from knowngood.databases.feed import Feed, Spare
from knowngood.databases.in_place import OPTION
from knowngood.databases.kind import DatabaseKind, Ways
from knowngood.kinds.postgres.address import address_of
from knowngood.kinds.postgres.feed import PostgresFeed
from knowngood.kinds.postgres.link import Link
from knowngood.kinds.postgres.production import PLACE
from knowngood.kinds.postgres.rows import open_rows
from knowngood.kinds.postgres.sandbox import start_sandbox
from knowngood.kinds.postgres.until import UNTILS, until

_SLOT_LIMIT = "16GiB"
_VERSIONS = range(15, 18)

TRAITS = KindTraits(
    name="postgres",
    capture=("scan", "journal"),
    holds=True,
    untils=UNTILS,
    located=False,
    options=(
        Option("dsn", "host=/run/postgresql dbname=shop", required=True),
        Option("password-file", "/etc/knowngood/postgres.secret"),
        Option("slot-limit", "16GiB"),
        Option("synchronous", "yes"),
        Option(OPTION, "/var/lib/postgresql/15/main"),
    ),
)


def postgres_kind(folders: Kind) -> Kind:
    """The kind `postgres`; `folders` brings files back into folders."""
    return DatabaseKind(
        Ways(TRAITS, _probe, _feed, start_sandbox, _owner, open_rows, spare=_spare, until=until, place=PLACE), folders
    )


def _probe(component: ComponentSpec) -> None:
    """Raise what is wrong: the address, the account, the version, the settings."""
    address = address_of(component)
    _slot_limit(component)
    _is_synchronous(component)
    with closing(Link(address)) as link:
        if link.version not in _VERSIONS:
            what = f"PostgreSQL at {address.text} is version {link.version}"
            raise Unsupported(f"{what}, and {_VERSIONS[0]} to {_VERSIONS[-1]} are understood")
        if link.value("select pg_is_in_recovery()") == "t":
            what = f"PostgreSQL at {address.text} is a standby"
            raise Unsupported(what, hint="name its primary; or all of them: host=a,b target_session_attrs=read-write")
        if link.value("show wal_level") == "minimal":
            hint = "ALTER SYSTEM SET wal_level = replica; then restart the server"
            raise UsageError(
                f"PostgreSQL at {address.text} writes too little into its log (wal_level minimal)", hint=hint
            )
    Link(address, replication=True).close()


def _feed(component: ComponentSpec, state_dir: str) -> Feed:
    limit, synchronous = _slot_limit(component), _is_synchronous(component)
    return PostgresFeed(address_of(component), _name(state_dir), limit, synchronous=synchronous)


def _spare(component: ComponentSpec, state_dir: str) -> Spare:
    return PostgresFeed(address_of(component), f"{_name(state_dir)}_base", _slot_limit(component), is_spare=True)


def _name(state_dir: str) -> str:
    return "knowngood_" + hashlib.blake2s(os.path.abspath(state_dir).encode(), digest_size=6).hexdigest()


def _is_synchronous(component: ComponentSpec) -> bool:
    said = component.options.get("synchronous", "no").lower()
    if said not in ("yes", "no", "true", "false"):
        raise UsageError(f"'synchronous' of component '{component.name}' is '{said}'", hint="write yes or no")
    return said in ("yes", "true")


def _slot_limit(component: ComponentSpec) -> int:
    return parse_size(component.options.get("slot-limit", _SLOT_LIMIT))


def _owner(component: ComponentSpec) -> tuple[int, int]:  # noqa: ARG001 - all servers of a host have one user
    """Who runs PostgreSQL here, for root; ourselves for others."""
    if os.geteuid() == 0:
        with suppress(KeyError):
            found = pwd.getpwnam("postgres")
            return found.pw_uid, found.pw_gid
    return os.geteuid(), os.getegid()

"""Where a PostgreSQL server is: a libpq connection string without a password, `host=/run/postgresql dbname=shop`."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.errors import Error

from knowngood.core.errors import UsageError
from knowngood.core.model import ComponentSpec
from knowngood.databases.secret import read_secret

_SECRETS = ("password", "sslpassword")
_OURS = ("replication", "application_name", "client_encoding")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and who we are there. What is not said is found as libpq does (service file, ~/.pgpass)."""

    words: tuple[tuple[str, str], ...]
    password_file: str = ""

    @property
    def text(self) -> str:
        """For people: the host and port, or the folder of its socket."""
        said = {**_defaults(), **dict(self.words)}
        host, port = said.get("host") or said.get("hostaddr") or "", said.get("port", "5432")
        if said.get("service") and not host:
            return f"service {said['service']}"
        return f"{host or 'localhost'}:{port}"

    @property
    def database(self) -> str:
        """The database that is meant when a question is asked; empty when none was named."""
        return dict(self.words).get("dbname", "")

    @property
    def names_database(self) -> bool:
        """Whether it says which database, or its service file may."""
        return bool({"dbname", "service"} & dict(self.words).keys())

    @property
    def user(self) -> str:
        """Who we are there, for people."""
        return dict(self.words).get("user") or _defaults().get("user", "")

    def connection(self, **more: str) -> bytes:
        """What libpq connects by. It has the password, and stays in memory. Raises UsageError."""
        words = {**dict(self.words), **more}
        if self.password_file:
            words["password"] = read_secret(self.password_file)
        return make_conninfo("", **words).encode()


def address_of(component: ComponentSpec) -> Address:
    """The address of a component. Raises UsageError that says what is wrong with it."""
    dsn = component.options["dsn"]
    try:
        found = pq.Conninfo.parse(dsn.encode())
    except Error:  # it is not shown: it may have a password
        hint = "write, for example: host=/run/postgresql dbname=shop"
        raise UsageError(f"the dsn of component '{component.name}' is no connection string", hint=hint) from None
    words = {each.keyword.decode(): each.val.decode() for each in found if each.val is not None}
    for name in _SECRETS:
        if name in words:
            hint = "write it into ~/.pgpass, or into a file that only you may read: password-file: /etc/knowngood/…"
            raise UsageError("a password does not belong into the dsn: others read service files", hint=hint)
    for name in _OURS:
        if name in words:
            raise UsageError(f"'{name}' cannot be set in the dsn", hint="leave it out: knowngood sets it")
    return Address(tuple(sorted(words.items())), component.options.get("password-file", ""))


def _defaults() -> dict[str, str]:
    """What libpq takes where nothing is said: from the environment, or built in."""
    return {each.keyword.decode(): each.val.decode() for each in pq.Conninfo.get_defaults() if each.val is not None}

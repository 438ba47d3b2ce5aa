"""A proposed service as a file that `service apply` takes; what could not be known stands in comments beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from knowngood.control.services import service_text
from knowngood.core.model import ComponentSpec, ServiceSpec
from knowngood.linux.running import Port

_ROLE = "it is asked as the account that runs knowngood; to make one of that name:"
_COMMENTS: dict[str, tuple[str, ...]] = {
    "postgres": (
        f"{_ROLE} CREATE ROLE root LOGIN REPLICATION",
        "another account: add user=… to the dsn; its password: password-file: /etc/knowngood/postgres.secret",
        "checks ask the database postgres: add dbname=… to the dsn for another one",
    ),
    "mariadb": (
        f"{_ROLE} CREATE USER root@localhost IDENTIFIED VIA unix_socket",
        "another account: user: backup; with a password: option-file: /etc/knowngood/mariadb.cnf",
    ),
    "redis": ("when it asks for a password: password-file: /etc/knowngood/redis.secret",),
}


@dataclass(slots=True)
class Proposal:
    """A service that may be meant, what there is to say about it, and about its components by their names."""

    service: ServiceSpec | None
    notes: list[str] = field(default_factory=list[str])
    about: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    @property
    def text(self) -> str:
        """As a file, with the notes as comments."""
        lines = [f"# {each}\n" for each in self.notes]
        if self.service is not None:
            lines += _commented(service_text(self.service).splitlines(keepends=True), self.service, self.about)
        return "".join(lines)


def _commented(lines: Sequence[str], service: ServiceSpec, about: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The lines of a service file; behind that of a component's name, what is to be said about it."""
    names = {f"  {each.name}:\n": each for each in service.components}
    inside = False
    for line in lines:
        yield line
        inside = line == "components:\n" or (inside and line.startswith(" "))
        if inside and (component := names.get(line)):
            for each in (*about.get(component.name, ()), *_COMMENTS.get(component.kind, ())):
                yield f"    # {_one_line(each)}\n"


def _one_line(text: str) -> str:
    """A comment ends with its line: what a path has in it must not begin another one."""
    return "".join(each if each.isprintable() else "?" for each in text)


# ---------------------------------------------------------------------------------------------- where servers listen


def options_of(kind: str, paths: Sequence[str], ports: Sequence[Port]) -> dict[str, str]:
    """How a component of a kind says where its server is, from the sockets and ports at which it listens."""
    if kind == "redis":
        return {"url": f"unix://{paths[0]}" if paths else f"redis://{_in_url(ports[0])}"}
    if kind == "postgres":
        return {"dsn": _dsn(paths, ports)}
    own = [each for each in paths if "mysqlx" not in each]  # another protocol
    return {"socket": own[0]} if own else {"host": _host(ports[0]), "port": str(ports[0][1])}


def _dsn(paths: Sequence[str], ports: Sequence[Port]) -> str:
    """A socket of PostgreSQL is FOLDER/.s.PGSQL.PORT."""
    for path in paths:
        folder, _, port = path.rpartition("/.s.PGSQL.")
        if folder and port.isdigit():
            return f"host={_quoted(folder)} port={port}"
    return f"host={_host(ports[0])} port={ports[0][1]}" if ports else f"host={_quoted(paths[0].rpartition('/')[0])}"


def _quoted(value: str) -> str:
    """As a connection string of libpq has it."""
    if value and not set(value) & set(" '\\"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _in_url(port: Port) -> str:
    host = _host(port)
    return f"{f'[{host}]' if ':' in host else host}:{port[1]}"


def _host(port: Port) -> str:
    """An address that a client can use."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(port[0], port[0])  # noqa: S104 - nothing is bound to it


def exclusions(component: ComponentSpec, databases: Sequence[str]) -> tuple[str, ...]:
    """What a folder leaves out: databases in it, which are components of their own, and what lies beside them."""
    top = component.path.rstrip("/") + "/"
    inside = [each.removeprefix(top) for each in databases if each.startswith(top)]
    return tuple(f"/{each}{end}" for each in inside for end in ("", "-wal", "-shm", "-journal"))

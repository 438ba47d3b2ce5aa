"""Discover: propose a service file from what runs on this host. Nothing is written, and nothing is asked of servers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from knowngood.control.services import component_name, service_text
from knowngood.core.errors import NotFound
from knowngood.core.model import ComponentSpec, Policy, ServiceSpec
from knowngood.linux.running import Process, listens_at, processes, writes_to

_ELSEWHERE = (
    "/proc",
    "/dev",
    "/sys",
    "/run",
    "/var/run",
    "/tmp",  # noqa: S108 - nothing is made there
    "/var/tmp",  # noqa: S108 - nothing is made there
    "/var/log",
    "/usr",
    "/lib",
    "/boot",
    "/etc",
)
"""Where programs keep what is not the data of a service."""
_DATABASES = {
    "redis-server": "redis",
    "valkey-server": "redis",
    "postgres": "postgres",
    "mariadbd": "mariadb",
    "mysqld": "mariadb",
}


@dataclass(slots=True)
class Proposal:
    """A service that may be meant, and what there is to say about it."""

    service: ServiceSpec | None
    notes: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """As a file, with the notes as comments."""
        comments = "".join(f"# {each}\n" for each in self.notes)
        return comments + (service_text(self.service) if self.service else "")


def discover(name: str, unit: str, kinds: Collection[str], ours: str) -> Proposal:
    """Databases that listen here, and folders in which they or the processes of a systemd unit write. Of one unit, or
    of the whole host when it is empty. `ours` is the home, which is nobody's data. Raises NotFound."""
    unit = unit.removesuffix(".service")
    found = [each for each in processes() if not unit or each.unit == unit]
    if unit and not found:
        raise NotFound(f"no process of the unit '{unit}' can be seen", hint=f"systemctl status {unit}; run as root")
    seeking = _Seeking(kinds, ours)
    for each in found:
        with suppress(OSError):  # it has ended, or may not be looked into
            seeking.database(each)
    for each in found:
        if unit and each.program not in _DATABASES:
            with suppress(OSError):
                seeking.files(writes_to(each.pid))
    components = seeking.components()
    if not components:
        seeking.notes.append("nothing was found that this version can protect; to protect a folder: "
                             "knowngood service add NAME --files PATH")  # fmt: skip
        return Proposal(None, seeking.notes)
    seeking.notes.append("a proposal: look it over, then: knowngood service apply FILE")
    service = ServiceSpec(name=_clean(name or unit or "host"), components=tuple(components), policy=Policy(rpo=300))
    return Proposal(service, seeking.notes)


class _Seeking:
    """What was found so far."""

    def __init__(self, kinds: Collection[str], ours: str) -> None:
        self.notes: list[str] = []
        self._kinds = kinds
        self._ours = os.path.realpath(ours)
        self._databases: dict[tuple[str, str], ComponentSpec] = {}
        self._taken: set[str] = set()  # folders of databases
        self._folders: set[str] = set()

    def database(self, process: Process) -> None:
        """A database server that listens."""
        kind = _DATABASES.get(process.program)
        if kind is None:
            return
        paths, ports = listens_at(process.pid)
        if not paths and not ports:
            return  # a child of one
        self._taken.add(process.folder)
        where = paths[0] if paths else f"port {ports[0][1]}"
        make = _OPTIONS.get(kind)
        if kind not in self._kinds or make is None:
            self.notes.append(f"{process.program} (process {process.pid}) listens at {where}: add it by hand, "
                              f"its folder is {process.folder}")  # fmt: skip
            return
        options = make(paths, ports)
        self._databases.setdefault((kind, str(options)), ComponentSpec(name=kind, kind=kind, options=options))

    def files(self, paths: Iterable[str]) -> None:
        """Files that are written."""
        for path in paths:
            folder = os.path.dirname(path)
            real = os.path.realpath(folder)
            if not any(_within(real, each) for each in (*_ELSEWHERE, self._ours, *self._taken)) and folder != "/":
                self._folders.add(folder)

    def components(self) -> list[ComponentSpec]:
        """All of it, with names of their own; a folder in another one is in that already."""
        names: set[str] = set()
        made: list[ComponentSpec] = []
        tops = [each for each in sorted(self._folders) if not any(_within(each, o) for o in self._folders - {each})]
        folders = [ComponentSpec(name="", kind="files", path=each) for each in tops]
        for each in (*self._databases.values(), *folders):
            name = component_name(each.path or each.name, names)
            names.add(name)
            made.append(ComponentSpec(name=name, kind=each.kind, path=each.path, options=each.options))
        return made


def _redis(paths: list[str], ports: list[tuple[str, int]]) -> dict[str, str]:
    return {"url": f"unix://{paths[0]}" if paths else f"redis://{_host(ports[0][0])}:{ports[0][1]}"}


_OPTIONS: dict[str, Callable[[list[str], list[tuple[str, int]]], dict[str, str]]] = {"redis": _redis}
"""How components of a kind say where they are."""


def _host(address: str) -> str:
    """An address that a client can use."""
    if address in ("0.0.0.0", "::"):  # noqa: S104 - nothing is bound to it
        return "127.0.0.1"
    return f"[{address}]" if ":" in address else address


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _clean(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:63] or "host"

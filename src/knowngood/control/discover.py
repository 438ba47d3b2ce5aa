"""Discover: propose a service file from what runs on this host. Nothing is written, and nothing is asked of servers."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress

from msgspec.structs import replace

from knowngood.control.proposal import Proposal, exclusions, options_of
from knowngood.control.services import component_name
from knowngood.core.errors import NotFound
from knowngood.core.model import ComponentSpec, Policy, ServiceSpec
from knowngood.linux.running import Process, listens_at, processes, state_folders, writes_to

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
_SQLITE = b"SQLite format 3\0"
_LOGGED = b"\2\2"  # of a database with a write-ahead log (fileformat2, 1.3.3)
_MOST = 64  # databases of SQLite, and units


def discover(name: str, unit: str, kinds: Collection[str], ours: str) -> Proposal:
    """Databases that listen here or are open, and folders in which the processes of a systemd unit write or that it was
    given for its state. Of one unit, or of the whole host when it is empty. `ours` is the home, which is nobody's data.
    Raises NotFound."""
    unit = unit.removesuffix(".service")
    found = [each for each in processes() if not unit or each.unit == unit]
    if unit and not found:
        raise NotFound(f"no process of the unit '{unit}' can be seen", hint=f"systemctl status {unit}; run as root")
    seeking = _Seeking(kinds, ours)
    for each in found:
        with suppress(OSError):  # it has ended, or may not be looked into
            seeking.database(each)
    for each in found:
        if each.program not in _DATABASES:
            with suppress(OSError):
                seeking.files(each, writes_to(each.pid), taken=bool(unit))
    components = seeking.components()
    notes = [*seeking.notes, *seeking.other_units(unit)]
    if not components:
        notes.append("nothing was found that this version can protect; to protect a folder: "
                     "knowngood service add NAME --files PATH")  # fmt: skip
        return Proposal(None, notes)
    notes.append("a proposal: look it over, then: knowngood service apply FILE")
    service = ServiceSpec(name=_clean(name or unit or "host"), components=tuple(components), policy=Policy(rpo=300))
    return Proposal(service, notes, seeking.about)


class _Seeking:
    """What was found so far."""

    def __init__(self, kinds: Collection[str], ours: str) -> None:
        self.notes: list[str] = []
        self.about: dict[str, list[str]] = {}  # component → what there is to say about it
        self._kinds = kinds
        self._ours = os.path.realpath(ours)
        self._servers: dict[tuple[str, str], tuple[ComponentSpec, str]] = {}  # and what there is to say
        self._files: dict[str, str] = {}  # databases of SQLite: by path, what there is to say
        self._taken: set[str] = set()  # folders of servers
        self._folders: set[str] = set()
        self._units: set[str] = set()  # that have folders, and were not asked for

    def database(self, process: Process) -> None:
        """A database server that listens."""
        kind = _DATABASES.get(process.program)
        if kind is None or _within(process.folder, self._ours):  # a throw-away server of ours
            return
        paths, ports = listens_at(process.pid)
        if not paths and not ports:
            return  # a child of one
        self._taken.add(process.folder)
        where = paths[0] if paths else f"port {ports[0][1]}"
        if kind not in self._kinds:
            self.notes.append(f"{process.program} (process {process.pid}) listens at {where}: add it by hand, "
                              f"its folder is {process.folder}")  # fmt: skip
            return
        said = f"{process.program}, process {process.pid}, its folder is {process.folder}"
        options = options_of(kind, paths, ports)
        self._servers.setdefault((kind, str(options)), (ComponentSpec(name=kind, kind=kind, options=options), said))

    def files(self, process: Process, paths: Iterable[str], *, taken: bool) -> None:
        """Files that a process writes, and the folders that it was given; folders are `taken` of a unit only."""
        folders = set(state_folders(process.pid)) if process.unit else set[str]()
        for path in paths:
            if self._is_elsewhere(os.path.dirname(path)):
                continue
            if "sqlite" in self._kinds and (said := _sqlite(path)) is not None and len(self._files) < _MOST:
                self._files.setdefault(path, f"{said}; open in {process.program}, process {process.pid}")
            elif not path.endswith(("-wal", "-shm", "-journal")):
                folders.add(os.path.dirname(path))
        folders = {each for each in folders if not self._is_elsewhere(each) and os.path.isdir(each)}
        if taken:
            self._folders |= folders
        elif folders and process.unit:
            self._units.add(process.unit)

    def _is_elsewhere(self, folder: str) -> bool:
        real = os.path.realpath(folder)
        return folder == "/" or any(_within(real, each) for each in (*_ELSEWHERE, self._ours, *self._taken))

    def other_units(self, unit: str) -> list[str]:
        """What to ask for next, when one unit was not."""
        if unit:
            return []
        names = sorted(self._units)[:_MOST]
        return [f"the unit {each} has folders of its own: knowngood service discover --unit {each}" for each in names]

    def components(self) -> list[ComponentSpec]:
        """All of it, with names of their own; a folder in another one is in that already."""
        tops = [each for each in sorted(self._folders) if not any(_within(each, o) for o in self._folders - {each})]
        found = [
            *self._servers.values(),
            *((ComponentSpec(name="", kind="sqlite", path=path), said) for path, said in sorted(self._files.items())),
            *((ComponentSpec(name="", kind="files", path=path), "") for path in tops),
        ]
        made: list[ComponentSpec] = []
        for each, said in found:
            name = component_name(each.path or each.name, {other.name for other in made})
            exclude = exclusions(each, sorted(self._files)) if each.kind == "files" else ()
            made.append(replace(each, name=name, exclude=exclude))
            self.about[name] = [said] if said else []
        return made


def _sqlite(path: str) -> str | None:
    """What there is to say about a database of SQLite; None when a file is none. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        head = os.pread(fd, 20, 0)
    finally:
        os.close(fd)
    if not head.startswith(_SQLITE):
        return None
    if head[18:20] == _LOGGED:
        return "followed commit by commit"
    return "copied at each point; to be followed commit by commit, its program sets PRAGMA journal_mode=WAL"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _clean(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")[:63] or "host"

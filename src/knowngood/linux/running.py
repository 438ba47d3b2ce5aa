"""What runs on this host, as /proc tells it: programs, where they listen, what they have open to write."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_LISTENS = "0A"  # tcp(7), TCP_LISTEN
_ACCEPTS = 0x10000  # __SO_ACCEPTCON in /proc/net/unix
_WRITES = 0o3  # O_WRONLY, O_RDWR
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_UNIT = re.compile(r"/([^/]+)\.service(?:/|$)")
_MOST_FILES = 4096
_ENVIRONMENT = 1 << 20

Port = tuple[str, int]
"""An address, and a port of it."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `unit` is its systemd service, empty for none; `folder` where it works."""

    pid: int
    program: str
    unit: str
    folder: str


def processes() -> Iterator[Process]:
    """All that we may look into; kernel threads, and those that end meanwhile, are left out."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                os.readlink(f"/proc/{name}/exe")
                with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                    program = file.read(64).strip()  # the program's own name: its file may be a link to another's
                yield Process(int(name), program, _unit(name), os.readlink(f"/proc/{name}/cwd"))


def _unit(pid: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
        found = _UNIT.search(file.read(65536))
        return found[1] if found else ""
    return ""


def state_folders(pid: int) -> list[str]:
    """The folders that systemd has made for the state of a process's unit (systemd.exec(5), StateDirectory). Raises
    OSError."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        words = file.read(_ENVIRONMENT).split(b"\0")
    found = next((each.partition(b"=")[2] for each in words if each.startswith(b"STATE_DIRECTORY=")), b"")
    return [each for each in os.fsdecode(found).split(":") if each.startswith("/")]


def listens_at(pid: int) -> tuple[list[str], list[Port]]:
    """The paths of the sockets, and the addresses and ports, at which a process can be reached. Raises OSError."""
    ours = {found[1] for _, target in _open(pid) if (found := _SOCKET.fullmatch(target))}
    paths = [fields[7] for fields in _table(pid, "unix", 8) if fields[6] in ours and int(fields[3], 16) & _ACCEPTS]
    ports = [
        _address(fields[1])
        for name in ("tcp", "tcp6")
        for fields in _table(pid, name, 10)
        if fields[3] == _LISTENS and fields[9] in ours
    ]
    return sorted(path for path in paths if path.startswith("/")), sorted(set(ports))


def _table(pid: int, name: str, width: int) -> Iterator[list[str]]:
    path = f"/proc/{pid}/net/{name}"
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8", errors="replace") as file:
        next(file, None)
        for line in file:
            fields = line.split(maxsplit=width - 1) if name == "unix" else line.split()
            if len(fields) >= width:
                yield [each.strip() for each in fields]


def _address(text: str) -> Port:
    host, _, port = text.partition(":")
    words = bytes.fromhex(host)
    native = b"".join(struct.pack(">I", each) for each in struct.unpack(f"={len(words) // 4}I", words))
    family = socket.AF_INET if len(native) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, native), int(port, 16)


def writes_to(pid: int) -> set[str]:
    """The files that a process has open to write. Raises OSError."""
    found: set[str] = set()
    for name, target in _open(pid):
        if not target.startswith("/") or target.endswith(" (deleted)"):
            continue
        with contextlib.suppress(OSError), open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
            flags = next((line.split()[1] for line in file if line.startswith("flags:")), "0")
            if int(flags, 8) & _WRITES and os.path.isfile(target):
                found.add(target)
    return found


def _open(pid: int) -> Iterator[tuple[str, str]]:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder)[:_MOST_FILES]:
        with contextlib.suppress(OSError):
            yield name, os.readlink(f"{folder}/{name}")

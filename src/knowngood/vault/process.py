"""Which process on which machine: enough to say of another one that it is certainly gone, and never more than that."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_INITIAL_NAMESPACE = "pid:[4026531836]"  # the same number on every machine (linux/proc_ns.h)
_MACHINE_ID = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@dataclass(frozen=True, slots=True)
class Process:
    """A process for ever: its number is unique in its namespace, with its start during one boot, on one machine."""

    host: str
    machine: str
    boot: str
    namespace: str
    process: int
    start_ticks: int


def this_process() -> Process:
    """The process that asks."""
    return Process(
        host=socket.gethostname(),
        machine=_machine_id(),
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        namespace=os.readlink("/proc/self/ns/pid"),
        process=os.getpid(),
        start_ticks=_start_ticks(os.getpid()) or 0,
    )


def _machine_id() -> str:
    for path in _MACHINE_ID:
        try:
            return Path(path).read_text().strip()
        except OSError:
            continue
    return ""


def _start_ticks(process: int) -> int | None:
    """When a process started, in ticks since boot (proc(5)); None when that cannot be seen.

    One that ended and was not waited for is still listed: it never started, as far as anybody here is concerned.
    """
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return -1 if fields[0] in "ZX" else int(fields[19])


def is_gone(other: Process) -> bool:
    """Whether a process has certainly ended. False wherever nobody here can know.

    Host names are given twice, and containers of one image share a machine id: another boot proves the end only of a
    process that ran outside of containers, and another process under the same number only in the same namespace.
    """
    here = this_process()
    if (other.host, other.machine) != (here.host, here.machine):
        return False
    if other.boot != here.boot:
        return bool(here.machine) and other.namespace == here.namespace == _INITIAL_NAMESPACE
    if other.namespace != here.namespace:
        return False
    ticks = _start_ticks(other.process)
    return ticks != other.start_ticks if ticks is not None else not _exists(other.process)


def is_running(other: Process) -> bool:
    """Whether a process certainly runs on this machine now. False wherever nobody here can know."""
    here = this_process()
    same = (other.host, other.machine, other.boot, other.namespace) == (
        here.host,
        here.machine,
        here.boot,
        here.namespace,
    )
    return same and _start_ticks(other.process) == other.start_ticks


def _exists(process: int) -> bool:
    """Whether there is such a process, though it may be hidden from /proc."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

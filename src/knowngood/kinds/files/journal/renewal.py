"""A server goes on as the program that is installed now: same process, same mount, all that programs have open.

It stops taking requests, answers those that it has, writes down what it knows into memory that survives execve(2), and
executes the other program, which goes on with the same descriptors. Requests that come meanwhile wait in the kernel.
Whether the other program can, it is asked before: after execve there is no way back.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

import msgspec

from knowngood.core.errors import Unsupported
from knowngood.kinds.files.journal.nodes import SavedNode

FORMAT = 1
"""Of what is handed on: whoever changes `Handed`, or what a part of it means, changes this."""

UNDERSTANDS = "--understands"
_SERVE = "knowngood.kinds.files.journal.serve"
_ASK_SECONDS = 30.0


class Handed(msgspec.Struct, kw_only=True, frozen=True):
    """All that has to go on. Descriptors go by their numbers."""

    device: int  # descriptors: the line to the kernel,
    root: int  # the folder below,
    lock: int
    listener: int  # and the keeper's socket
    agreed: int  # flags of INIT
    mount: int  # the number of the mount
    entry: int  # the number of the journal's next entry
    lost: str  # why nothing is journalled any more
    total: int  # bytes of a journal
    renewals: int  # how often the process became another program
    nodes: list[SavedNode]
    next_node: int
    handles: list[tuple[int, int, bool]]  # descriptor, node, whether it can only be appended to
    listings: list[tuple[int, int, list[tuple[bytes, int, int]] | None]]  # descriptor, node, names


def can(program: str) -> bool:
    """Whether what a Python interpreter has installed understands what would be handed on."""
    words = [program, "-m", _SERVE, UNDERSTANDS, str(FORMAT)]
    try:
        done = subprocess.run(words, check=False, cwd="/", timeout=_ASK_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def go_on_as(program: str, words: Iterable[str], handed: Handed) -> None:
    """Become the other program. Returns never; raises OSError, and nothing has changed then."""
    passed = [handed.device, handed.root, handed.lock, handed.listener]
    passed += [each[0] for each in (*handed.handles, *handed.listings)]
    memory = os.memfd_create("knowngood-journal", 0)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(msgspec.msgpack.encode(handed))
        for fd in passed:
            os.set_inheritable(fd, True)
        os.execv(program, [program, "-m", _SERVE, *words, f"--handed={memory}"])  # noqa: S606 the program is root's own
    except BaseException:
        for fd in passed:
            os.set_inheritable(fd, False)
        os.close(memory)
        raise


def take(memory: int) -> Handed:
    """What was handed on. Raises Unsupported when it is not understood."""
    with open(memory, "rb") as file:
        file.seek(0)
        try:
            handed = msgspec.msgpack.decode(file.read(), type=Handed)
        except msgspec.MsgspecError as wrong:
            raise Unsupported(f"what the server before handed on is not understood: {wrong}") from None
    passed = [handed.device, handed.root, handed.lock, handed.listener]
    for fd in (*passed, *(each[0] for each in (*handed.handles, *handed.listings))):
        os.set_inheritable(fd, False)
    return handed

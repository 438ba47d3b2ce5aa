"""Processes that share a vault, under a director who decides which of them takes its next step, and which one dies.

Each actor is a forked process. Before each operation on the store it asks, and waits. The director lets one of them go
on at a time, at random: so one seed is one interleaving of real processes, at the grain of store operations, and a kill
comes at a chosen operation. Nobody sleeps; nobody looks at a clock.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from knowngood.core.ports import Store
from knowngood.testing.forking import fork
from knowngood.testing.stores import FaultyStore

_SECONDS = 120  # after which an actor that hangs is ended

ASKED = ("put", "delete", "list", "sweep")


class Wire:
    """An actor's line to the director."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._lock = threading.Lock()

    def ask(self, operation: str, key: str) -> None:
        """Tell what comes next, and wait for the word."""
        if operation in ASKED:
            with self._lock:
                self._write(f"ask {operation} {key}")
                if not os.read(self._reading, 1):
                    os._exit(1)  # the director has gone

    def tell(self, *words: str) -> None:
        """Tell what has happened."""
        with self._lock:
            self._write(" ".join(("tell", *words)))

    def _write(self, line: str) -> None:
        os.write(self._writing, line.encode() + b"\n")

    def store(self, inner: Store) -> FaultyStore:
        """A store whose operations ask first."""
        faulty = FaultyStore(inner)
        faulty.before.append(self.ask)
        return faulty


Act = Callable[[Wire, random.Random], None]


@dataclass
class Actor:
    """A process, as the director sees it."""

    name: str
    process: int
    reading: int
    writing: int
    waits: bool = False
    rest: bytes = b""


class ActorFailed(Exception):
    """An actor's own assertion failed; the text is its traceback."""


@dataclass
class Director:
    """Lets actors act. `hear` is told what they tell: the name of the actor, and its words."""

    chance: random.Random
    hear: Callable[[str, list[str]], None]
    kill_one_in: int = 0
    kills: int = 0
    steps: int = 0
    _actors: list[Actor] = field(default_factory=list)

    def start(self, name: str, act: Act) -> None:
        """Fork an actor."""
        his_reading, my_writing = os.pipe()
        my_reading, his_writing = os.pipe()
        seed = self.chance.randrange(1 << 30)
        child = fork()
        if not child:
            for actor in self._actors:
                os.close(actor.reading)
                os.close(actor.writing)
            os.close(my_writing)
            os.close(my_reading)
            _be(act, Wire(his_reading, his_writing), random.Random(seed))
        os.close(his_reading)
        os.close(his_writing)
        self._actors.append(Actor(name, child, my_reading, my_writing))

    def run(self, on_death: Callable[[str], None]) -> None:
        """Until all have ended. `on_death` may start another one."""
        try:
            while self._actors:
                for actor in [each for each in self._actors if not each.waits]:
                    if not self._listen(actor):
                        self._bury(actor)
                waiting = [each for each in self._actors if each.waits]
                if waiting:
                    self._step(self.chance.choice(waiting), on_death)
        finally:
            for actor in list(self._actors):
                os.kill(actor.process, signal.SIGKILL)
                self._bury(actor)

    def _step(self, actor: Actor, on_death: Callable[[str], None]) -> None:
        self.steps += 1
        if self.kill_one_in and not self.chance.randrange(self.kill_one_in):
            os.kill(actor.process, signal.SIGKILL)
            self.kills += 1
            self._bury(actor)
            on_death(actor.name)
        else:
            actor.waits = False
            os.write(actor.writing, b"g")

    def _listen(self, actor: Actor) -> bool:
        """Hear an actor until it asks. False when it has ended."""
        while not actor.waits:
            line, found, rest = actor.rest.partition(b"\n")
            if not found:
                more = os.read(actor.reading, 65536)
                if not more:
                    return False
                actor.rest += more
                continue
            actor.rest = rest
            what, *words = line.decode().split(" ")
            if what == "ask":
                actor.waits = True
            elif words[0] == "failed":
                raise ActorFailed(f"{actor.name}: {bytes.fromhex(words[1]).decode()}")
            else:
                self.hear(actor.name, words)
        return True

    def _bury(self, actor: Actor) -> None:
        self._actors.remove(actor)
        os.close(actor.reading)
        os.close(actor.writing)
        os.waitpid(actor.process, 0)


def _be(act: Act, wire: Wire, chance: random.Random) -> None:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        act(wire, chance)
    except BaseException:  # noqa: BLE001 - all that is left to do is to tell
        wire.tell("failed", traceback.format_exc()[-4000:].encode().hex())
    finally:
        os._exit(0)

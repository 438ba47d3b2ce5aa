"""Stores for tests: one in memory, and a wrapper that makes any store fail, stop, or tell of the past."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from mmap import mmap

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Exists, KnowngoodError, NoSpace, NotFound
from knowngood.core.ports import ObjectStat, Store
from knowngood.core.traits import StoreTraits

CHANGES = ("put", "delete")


class MemoryStore:
    """Objects in a dictionary (port Store). With a `capacity`, putting more bytes than that raises NoSpace."""

    traits = StoreTraits(local=True)

    def __init__(self, capacity: int | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.capacity = capacity
        self._lock = threading.Lock()

    def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create an object."""
        data = b"".join(parts)
        with self._lock:
            if key in self.objects:
                raise Exists(f"the store already has an object '{key}'")
            if self.capacity is not None and self.used + len(data) > self.capacity:
                raise NoSpace(f"the store is full (writing '{key}')")
            self.objects[key] = data

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object."""
        data = self.view(key)
        return data[offset:] if length is None else data[offset : offset + length]

    def view(self, key: str) -> bytes:
        """The whole object."""
        try:
            return self.objects[key]
        except KeyError:
            raise NotFound(f"the store has no object '{key}'") from None

    def stat(self, key: str) -> ObjectStat:
        """An object's length."""
        return ObjectStat(key, len(self.view(key)))

    def list(self, prefix: str, *, settled: bool = False) -> Iterator[ObjectStat]:
        """Every object below a prefix, as of now; all of it is settled."""
        del settled
        with self._lock:
            found = [ObjectStat(key, len(data)) for key, data in self.objects.items() if key.startswith(prefix)]
        return iter(found)

    def delete(self, *keys: str) -> None:
        """Remove objects."""
        with self._lock:
            for key in keys:
                self.objects.pop(key, None)

    def free_bytes(self) -> int | None:
        """Room left; None without a capacity."""
        return None if self.capacity is None else self.capacity - self.used

    def sweep(self) -> int:
        """Nothing is ever half written."""
        return 0

    @property
    def used(self) -> int:
        """Bytes of all objects."""
        return sum(map(len, self.objects.values()))


Hook = Callable[[str, str], None]
"""Called with an operation's name and its key."""


@dataclass
class Gate:
    """An operation that waits: `reached` once it is there, until somebody calls `open`."""

    reached: threading.Event = field(default_factory=threading.Event)
    _open: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        """Let the operation, and all after it, go on."""
        self._open.set()

    def wait(self) -> None:
        """What the operation does."""
        self.reached.set()
        self._open.wait()


class FaultyStore:
    """A store whose operations fail, wait or run a hook when a test says so (port Store).

    Operations are counted from the last call of `fail`, those of `counted` kinds only. A put that fails before it took
    effect is one that was cut short: no part of it is ever visible.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.before: list[Hook] = []
        self.after: list[Hook] = []
        self.count = 0
        self.log: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._counted: tuple[str, ...] = CHANGES
        self._at: int | None = None
        self._error: KnowngoodError | None = None
        self._late = self._lasting = False
        self._frozen: dict[str, list[ObjectStat]] = {}

    # ------------------------------------------------------------------------------------------------- faults

    def fail(
        self,
        at: int,
        error: KnowngoodError,
        *,
        after: bool = False,
        lasting: bool = False,
        counted: tuple[str, ...] = CHANGES,
    ) -> None:
        """Raise `error` at the `at`-th operation from now: before it took effect, or `after` it did.

        With `lasting`, every later operation fails too, whatever its kind: the store is out of reach.
        """
        self.count, self._at, self._error = 0, at, error
        self._late, self._lasting, self._counted = after, lasting, counted

    def mend(self) -> None:
        """Nothing fails any more; listings are true again."""
        self._at = self._error = None
        self._frozen.clear()

    @property
    def failed(self) -> bool:
        """Whether the operation that was to fail was reached."""
        return self._at is not None and self.count >= self._at

    def hold(self, operation: str, prefix: str) -> Gate:
        """Make operations of this kind, on keys with this prefix, wait at a gate."""
        gate = Gate()
        self.before.append(lambda name, key: gate.wait() if name == operation and key.startswith(prefix) else None)
        return gate

    def freeze_listing(self, prefix: str, without: str = "") -> None:
        """From now on, listings of this prefix tell what is there at this moment: a store that is slow to notice; and
        `without` one key: what was put while a listing was made may be in it or not, whatever came later."""
        self._frozen[prefix] = [each for each in self.inner.list(prefix) if each.key != without]

    def _begin(self, operation: str, key: str) -> bool:
        """Count; raise what is due before the operation. Returns whether something is due after it."""
        with self._lock:
            self.log.append((operation, key))
            hit = False
            if operation in self._counted:
                self.count += 1
                hit = self.count == self._at
            gone = self._lasting and self.failed and not (hit and self._late)
            late = hit and self._late
        if self._error is not None and (gone or (hit and not late)):
            raise self._error
        for hook in list(self.before):
            hook(operation, key)
        return late

    def _end(self, operation: str, key: str, late: bool) -> None:
        for hook in list(self.after):
            hook(operation, key)
        if late and self._error is not None:
            raise self._error

    # ------------------------------------------------------------------------------------------------- the port

    @property
    def traits(self) -> StoreTraits:
        """Those of the store inside."""
        return self.inner.traits

    def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See the port."""
        late = self._begin("put", key)
        self.inner.put(key, parts)
        self._end("put", key, late)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        late = self._begin("get", key)
        data = self.inner.get(key, offset, length)
        self._end("get", key, late)
        return data

    def view(self, key: str) -> bytes | mmap:
        """See the port."""
        late = self._begin("view", key)
        data = self.inner.view(key)
        self._end("view", key, late)
        return data

    def stat(self, key: str) -> ObjectStat:
        """See the port."""
        late = self._begin("stat", key)
        found = self.inner.stat(key)
        self._end("stat", key, late)
        return found

    def list(self, prefix: str, *, settled: bool = False) -> Iterator[ObjectStat]:
        """See the port."""
        late = self._begin("list", prefix)
        found = self._frozen[prefix] if prefix in self._frozen else list(self.inner.list(prefix, settled=settled))
        self._end("list", prefix, late)
        return iter(found)

    def delete(self, *keys: str) -> None:
        """See the port. Each is a step of its own."""
        for key in keys:
            late = self._begin("delete", key)
            self.inner.delete(key)
            self._end("delete", key, late)

    def free_bytes(self) -> int | None:
        """See the port."""
        return self.inner.free_bytes()

    def sweep(self) -> int:
        """See the port."""
        late = self._begin("sweep", "")
        count = self.inner.sweep()
        self._end("sweep", "", late)
        return count

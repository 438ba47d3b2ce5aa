"""Sessions: everybody who reads or writes a vault announces it, so that a collector takes no chunk from under them.

Order of opening: announce with the epoch seen, then look at the epoch again. Order of a collector: put the epoch that
condemns, then list the sessions. Whichever comes first, one of the two sees the other; no clock takes part.
A session's commits have numbered keys: a collector that believes a session dead puts a fence at the next number, and
put-if-absent decides whether the commit or the fence was first.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType

import msgspec

from knowngood.core.errors import (
    Busy,
    Damaged,
    Exists,
    Fenced,
    KnowngoodError,
    NoSpace,
    NotFound,
    StoreFailed,
    UsageError,
)
from knowngood.core.ids import new_id
from knowngood.core.instants import now_ns
from knowngood.core.malformed import MALFORMED
from knowngood.core.ports import Store
from knowngood.seal.keys import PublicKey
from knowngood.vault.epoch import Epoch, latest_epoch, latest_epoch_or_blank
from knowngood.vault.index import Index
from knowngood.vault.layout import SESSIONS, commit_key, pack_key, run_key, session_key
from knowngood.vault.merge import RUN_ROWS, put_run
from knowngood.vault.pack import SealedPack
from knowngood.vault.process import Process, is_gone, is_running, this_process
from knowngood.vault.record import Commit, Fence, Hidden, Record, encode_commit, unwrap_plain, wrap_plain
from knowngood.vault.run import Run


class SessionCard(msgspec.Struct, frozen=True, kw_only=True):
    """How a session announces itself. `exclusive` ones keep the vault in order; there is one at a time."""

    id: bytes
    epoch: int
    purpose: str
    host: str
    boot: str
    process: int
    start_ticks: int
    since_ns: int
    machine: str = ""
    namespace: str = ""
    exclusive: bool = False
    timelines: tuple[bytes, ...] | msgspec.UnsetType = msgspec.UNSET  # whose logs it may continue


FOLLOWING = "follow"
"""The purpose of those who record what changes: they leave again within a second or so, and need not be ended."""

_card_decoder = msgspec.msgpack.Decoder(SessionCard)
_FAN = 16
_NEWER = "?"  # the host of a card that a newer program wrote
_open_here: set[bytes] = set()  # the sessions of this process that have not ended


def is_dead(card: SessionCard) -> bool:
    """Whether the session may be fenced: its process is certainly gone, or has left it, or its card is damaged.

    A fence keeps the vault safe from whoever it was; a card that nobody can read would stop collection for ever. False
    for a process on another machine: nobody here can know.
    """
    process = _process(card)
    left = process == this_process() and card.id not in _open_here  # its card could not be withdrawn
    return not card.host or left or is_gone(process)


def lives_here(card: SessionCard) -> bool:
    """Whether the session's process certainly runs on this machine."""
    return not is_dead(card) and is_running(_process(card))


def _process(card: SessionCard) -> Process:
    return Process(card.host, card.machine, card.boot, card.namespace, card.process, card.start_ticks)


def list_sessions(store: Store) -> list[SessionCard]:
    """The sessions announced now. A card of a newer format counts as a live session of epoch 0."""
    cards: list[SessionCard] = []
    for each in list(store.list(SESSIONS)):
        with suppress(NotFound, ValueError):  # gone since the listing; a strange file, which announces nobody
            session = bytes.fromhex(each.key.rpartition("/")[2])
            try:
                cards.append(read_card(store, each.key))
            except Damaged:
                cards.append(_unreadable(session, host=""))
            except MALFORMED:
                cards.append(_unreadable(session, host=_NEWER))
    return cards


def find_session(store: Store, start: str) -> SessionCard:
    """The announced session whose id begins with these hex digits. Raises NotFound, UsageError."""
    found = [card for card in list_sessions(store) if start and card.id.hex().startswith(start.lower())]
    if not found:
        raise NotFound(f"no session '{start}' is announced", hint="see: knowngood vault sessions")
    if len(found) > 1:
        raise UsageError(f"'{start}' begins the id of more than one session", hint="type more digits of it")
    return found[0]


def read_card(store: Store, key: str) -> SessionCard:
    """One announcement. Raises NotFound, Damaged; MALFORMED for one of a newer format."""
    return _card_decoder.decode(unwrap_plain(store.get(key)))


def _unreadable(session: bytes, host: str) -> SessionCard:
    return SessionCard(
        id=session, epoch=0, purpose="unreadable", host=host, boot="", process=0, start_ticks=0, since_ns=0
    )


class Session:
    """One reader's or writer's stay in a vault. A context manager; leaving it withdraws the announcement.

    Who is only `reading` stays even where nothing can be announced, on a full disk or a read-only copy: the worst that
    a collector can do to it is to take away what it was about to read.
    """

    def __init__(
        self,
        store: Store,
        vault_id: bytes,
        public: PublicKey,
        purpose: str,
        *,
        without_index: bool = False,
        exclusive: bool = False,
        reading: bool = False,
        timelines: tuple[bytes, ...] = (),
    ) -> None:
        self.store = store
        self.vault_id = vault_id
        self.public = public
        self.timelines = frozenset(timelines)
        self._look = latest_epoch_or_blank if without_index else latest_epoch
        try:
            self.id, self.epoch = self._announce(purpose, exclusive)
        except (NoSpace, StoreFailed):
            if not reading or timelines:
                raise
            self.id, self.epoch = b"", self._look(store)
        self._number = 0
        self._runs: list[tuple[int, Run]] = []  # what it put, and how often it was gathered
        try:
            if exclusive:
                self._be_alone()
            if timelines:
                self._be_the_only_writer()
            self.index = Index([], frozenset()) if without_index else Index.open(store, self.epoch, settled=not reading)
        except BaseException:
            self.close()
            raise

    def _announce(self, purpose: str, exclusive: bool) -> tuple[bytes, Epoch]:
        here = this_process()
        while True:
            seen = self._look(self.store)
            card = SessionCard(
                id=new_id(),
                epoch=seen.number,
                purpose=purpose,
                host=here.host,
                boot=here.boot,
                process=here.process,
                start_ticks=here.start_ticks,
                since_ns=now_ns(),
                machine=here.machine,
                namespace=here.namespace,
                exclusive=exclusive,
                timelines=tuple(sorted(self.timelines)) or msgspec.UNSET,
            )
            _open_here.add(card.id)
            try:
                self.store.put(session_key(card.id), [wrap_plain(msgspec.msgpack.encode(card))])
                again = self._look(self.store)
            except BaseException:  # the card may be there: left alone, it stops collection while this process lives
                self._withdraw(card.id)
                raise
            if again.number == seen.number:
                return card.id, again
            self._withdraw(card.id)

    def _be_alone(self) -> None:
        """Two that announce themselves at once see each other, and both give way; at no time do both go on."""
        for card in list_sessions(self.store):
            if not card.exclusive or card.id == self.id:
                continue
            if not is_dead(card):
                raise Busy(
                    f"'{card.purpose}' is at work in this vault ({card.host}, process {card.process})",
                    hint="run the command again when it has finished; should it be gone: knowngood vault sessions",
                )
            self.store.delete(session_key(card.id))

    def _be_the_only_writer(self) -> None:
        """Of two that announce one timeline, each sees the other. Who is dead is fenced before its end is read."""
        for card in list_sessions(self.store):
            shared = self.timelines & set(card.timelines or ())
            unknown = card.host in ("", _NEWER)  # it may be a writer of anything
            if card.id == self.id or not (shared or unknown):
                continue
            if not is_dead(card):
                raise Busy(
                    f"'{card.purpose}' is writing this log already ({card.host}, process {card.process})",
                    hint="let it go on, or end it first; should it be gone: knowngood vault sessions",
                )
            fence(self.store, card, self.public, self.vault_id, now_ns())

    def land(self, pack: SealedPack) -> None:
        """Store a pack. Durable when this returns; visible to nobody yet."""
        try:
            self.store.put(pack_key(pack.kind, pack.name), pack.parts)
        except Exists:
            return  # the name is the hash of the bytes: it is this very pack

    def publish(self, packs: dict[bytes, int], rows: Iterable[bytes]) -> None:
        """Store an index run over packs that have landed. Raises Fenced: the packs of a fenced session are deleted."""
        self.require_announced()
        self._runs.append((0, self._put_run(packs, sorted(rows))))
        self._gather_runs()

    def require_announced(self) -> None:
        """Raise Fenced when somebody has ended this session."""
        try:
            self.store.stat(session_key(self.id))
        except NotFound:
            raise _fenced() from None

    def delete(self, *keys: str) -> None:
        """Delete objects of the vault, for those who keep it in order. Raises Fenced before it when somebody has ended
        this session: another one may be at work by now, and may have put the very same pack once more."""
        self.require_announced()
        self.store.delete(*keys)

    def _put_run(self, packs: dict[bytes, int], ordered: list[bytes]) -> Run:
        name = put_run(self.store, packs, ordered)
        run = Run(name, self.store.view(run_key(name)))
        self.index.add(run)
        return run

    def _gather_runs(self) -> None:
        """Put one run in the place of many small ones of this session: every question goes through all there are."""
        while len(self._runs) >= _FAN and self._runs[-_FAN][0] == self._runs[-1][0]:
            level, some = self._runs[-1][0], [run for _, run in self._runs[-_FAN:]]
            if sum(run.count for run in some) > RUN_ROWS:
                return
            packs = {pack: kind for run in some for pack, kind in run.packs.items()}
            rows = sorted(row for run in some for byte in range(256) for row in run.rows(byte))
            self._runs[-_FAN:] = [(level + 1, self._put_run(packs, rows))]
            for run in some:
                self.index.remove(run)
                with suppress(KnowngoodError):  # twice told does no harm
                    self.store.delete(run_key(run.name))

    def commit(self, records: tuple[Record, ...], hidden: Hidden | None, received_ns: int) -> Commit:
        """Make records visible, all at once. Everything they refer to must be durable. Raises Fenced."""
        about = tuple(each.point for each in hidden.judgements) if hidden else ()
        commit = Commit(self.id, self._number, received_ns, records, about)
        try:
            self.store.put(
                commit_key(self.id, self._number), [encode_commit(commit, hidden, self.public, self.vault_id)]
            )
        except Exists:
            raise _fenced() from None
        self._number += 1
        return commit

    def close(self) -> None:
        """Withdraw the announcement. What was committed stays so even when this fails."""
        if self.id:
            self._withdraw(self.id)

    def _withdraw(self, session: bytes) -> None:
        with suppress(KnowngoodError):
            self.store.delete(session_key(session))
        _open_here.discard(session)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fenced() -> Fenced:
    return Fenced("this run was taken for dead and ended; nothing was lost", hint="run the command again")


def fence(store: Store, card: SessionCard, public: PublicKey, vault_id: bytes, received_ns: int) -> None:
    """End a session for good: it can commit nothing that it has not committed yet."""
    number = _first_free(store, card.id)
    while True:
        commit = Commit(card.id, number, received_ns, (Fence(),))
        try:
            store.put(commit_key(card.id, number), [encode_commit(commit, None, public, vault_id)])
            break
        except Exists:
            number += 1
    store.delete(session_key(card.id))


def _first_free(store: Store, session: bytes) -> int:
    """The number of a session's next commit, or one before it: its commits have no gaps, and may be very many."""

    def taken(number: int) -> bool:
        try:
            store.stat(commit_key(session, number))
        except NotFound:
            return False
        return True

    if not taken(0):
        return 0
    step = 1
    while taken(step):
        step *= 2
    low, high = step // 2, step  # the first is taken, the second was not when it was looked at
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if taken(middle) else (low, middle)
    return high

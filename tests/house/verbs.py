"""A play in which every command that works on a vault answers with every field that docs/json.md describes."""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from knowngood.control import discover
from knowngood.control.former import note_former
from knowngood.control.home import Home
from knowngood.control.lapses import Lapses
from knowngood.control.promises import Promises, State
from knowngood.control.services import get_service
from knowngood.control.up.protocol import BaseNow, Failure, FollowerState, ServiceNow, Told, Waiting
from knowngood.control.workshop import Workshop
from knowngood.core.buffers import Buffer
from knowngood.core.ids import Name
from knowngood.core.instants import now_ns
from knowngood.core.model import Problem
from knowngood.core.ports import Recovered
from knowngood.doors.cli.commands import mount, point, protect
from knowngood.doors.console import serving
from knowngood.doors.mount.shelf import Listing, Shelf
from knowngood.flow.parts import Parts
from knowngood.kinds.files import FilesKind
from knowngood.linux.running import Process
from knowngood.plugins import PLUGINS
from knowngood.testing.vaults import move_away
from knowngood.vault.ingest import Ingest
from tests.keepers import IDLE, PROTECTING, answering
from tests.recorder import Recorder
from tests.user import User

WITHOUT_DOCUMENT = {"cat", "up"}
"""Commands that write bytes, or run until they are stopped."""

VERBS = {
    "init", "service list", "service discover", "service adopt", "protect", "point", "drill", "drills",
    "status", "promises", "serve", "points", "timeline", "recover", "former", "undelete", "ls",
    "find", "diff", "history", "mount", "expire", "undo", "tidy", "doctor",
    "vault status", "vault check", "vault scrub", "vault rebuild", "vault collect", "vault reserve",
    "vault keys show", "vault keys kit", "vault keys passphrase", "vault keys rotate", "vault keys restore",
    "vault sessions", "vault sessions end",
}  # fmt: skip
"""Commands whose documents come up in the play."""

MORE = {"recover rows"}
"""Documents of the same commands, asked for something else."""

Documents = dict[str, list[Any]]
"""By the words of the command."""


class Play:
    """Runs commands and keeps what they answered."""

    def __init__(self, folder: Path) -> None:
        self.user = User(folder)
        self.documents: Documents = defaultdict(list)
        self.data = folder / "data"
        self.key = folder / "key"

    def says(self, *words: str | Path, status: int = 0, user: User | None = None) -> Any:
        """A command and its document."""
        document = (user or self.user).asks(*words, status=status)
        self.documents[document["document"]].append(document)
        return document


def play(folder: Path) -> Documents:
    """The whole play, in an empty folder."""
    played = Play(folder)
    _prologue(played)
    first = _protecting(played)
    _rehearsing(played)
    _asking_how_things_stand(played)
    _looking(played, first)
    _recovering(played, first)
    _letting_go(played)
    _adopting(played)
    _going_back(played)
    _tidying(played, first)
    _keys(played)
    _damage(played)
    return played.documents


def _prologue(played: Play) -> None:
    user = played.user
    played.key.write_text(played.says("init", "--vault", user.vault, "--no-passphrase")["recovery_key"])
    other = User(user.folder, home=user.folder / "other")
    played.says("init", "--vault", user.vault, "--join", "--recovery-key-file", played.key, user=other)
    played.data.mkdir()
    for name in (b"file", b"going", b"odd \xff"):
        with open(os.path.join(os.fsencode(played.data), name), "wb") as file:
            file.write(name * 100)
    (played.data / "link").symlink_to("file")
    user.does("service", "add", "shop", "--files", played.data)
    with _discovering():
        played.says("service", "discover")


def _protecting(played: Play) -> str:
    first = played.says("protect", "shop", "--name", "first")["point"]["id"]
    (played.data / "file").write_bytes(b"changed" * 100)
    (played.data / "going").unlink()
    (played.data / "new").write_bytes(b"new" * 100)
    with _vanishing(played.data / "new"):
        played.says("protect", "shop", status=3)
    played.says("points", "shop")
    return first


def _rehearsing(played: Play) -> None:
    """A service that says all that can be said of its components together."""
    user, folder = played.user, played.user.folder / "depot"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    (folder / "b" / "going").write_text("gone soon" * 100)
    (folder / "b" / "first").write_text("here" * 200)
    file = user.folder / "depot.yaml"
    file.write_text(
        f"service: depot\ncomponents: {{a: {{kind: files, path: {folder}/a}}, b: {{kind: files, path: {folder}/b}}}}\n"
        "refers-to: {a: [b]}\norder: [b]\nhooks: {after-point: /bin/true}\npolicy: {rto: 1h}\n"
    )
    user.does("service", "apply", file)
    user.does("protect", "depot")
    user.does("drill", "depot")
    file.write_text(file.read_text() + "checks: [{component: a, ask: x, expect: '1'}]\n")
    user.does("service", "apply", file)
    for each in ("first", "going"):
        (folder / "b" / each).write_text(f"again {each}" * 200)
    with patch.object(point, "_here", lambda *words: protect._here(*words[:3])), _vanishing(folder / "b" / "going"):
        played.says("point", "depot", status=3)
    played.says("point", "depot", "--quiesced")
    played.says("drill", "depot", status=1)
    played.says("drills")
    played.says("service", "list")


@contextmanager
def _discovering() -> Iterator[None]:
    """A database listens on this host."""
    server = Process(1, "redis-server", "", "/var/lib/redis")
    with (
        patch.object(discover, "processes", lambda: iter([server])),
        patch.object(discover, "listens_at", lambda _: ([], [("127.0.0.1", 6379)])),
    ):
        yield


@contextmanager
def _vanishing(path: Path) -> Iterator[None]:
    """A file goes after the first other one was read."""
    add = Ingest.add

    def adding(self: Ingest, data: Buffer) -> Name:
        path.unlink(missing_ok=True)
        return add(self, data)

    with patch.object(Ingest, "add", adding):
        yield


def _asking_how_things_stand(played: Play) -> None:
    played.says("status")
    played.user.does("policy", "set", "shop", "rpo=1h")
    home = Home.at(str(played.user.home))
    failure = Failure(code="busy", message="m", hint="h", at_ns=1, attempts=2)
    waiting = Waiting(since_ns=1, records=2, bytes=3, limit=4, full=False, room=5.0)
    wrong = Told("busy", "m")
    following = FollowerState(component="data", capture="watch", behind=0.5, failure=wrong, waiting=waiting)
    base = BaseNow(seconds=1.5, bytes=2, total_bytes=3, first=False)
    following = msgspec.structs.replace(following, base=base, unsafe="late")
    lapses = Lapses(home)
    lapses.measured("shop", 2.5, now_ns())
    lapses.heard("shop", (following,), 5)
    lapses.save(now_ns())
    promises = Promises(home)
    promises.measured(get_service(home, "shop"), State.KEPT, 1.0, now_ns())
    promises.measured(get_service(home, "shop"), State.KEPT, 1.0, now_ns())
    promises.save(now_ns())
    played.says("promises")
    service = ServiceNow(name="shop", age=1.0, point="", due_in=2.0, failure=failure, followers=(following,))
    keeper = msgspec.structs.replace(IDLE, doing=PROTECTING, services=(service,), tidy_due_in=3.0, tidy_failure=failure)
    with answering(home, keeper):
        played.says("status", status=1)
    played.user.does("policy", "set", "shop", "rpo=0")


def _looking(played: Play, first: str) -> None:
    played.says("ls", "shop", "--at", first)
    played.says("find", "shop", "l*", "--at", first)
    played.says("find", "shop", "odd*", "--at", first)
    (played.data / "came").touch()
    played.says("protect", "shop")
    played.says("diff", "shop", "--from", first)
    played.says("diff", "shop")
    for path in ("going", "came"):
        played.says("history", "shop", path)
    with patch.object(serving, "serve", lambda *_: None):
        played.says("serve", "--port", "0")
    with patch.object(mount, "serve", _glance):
        played.says("mount", played.user.folder)


def _glance(_folder: str, parts: Parts, *, ready: Callable[[Listing], None], **_options: object) -> None:
    """What `mount` does, without a kernel that takes part: all is there, and at once somebody unmounts it."""
    with Shelf(parts) as shelf:
        ready(shelf.current)


def _recovering(played: Play, first: str) -> None:
    played.says("recover", "shop", "--at", first, "--delete", "--dry-run")
    played.says("recover", "shop", "--at", first, "--delete")
    user, path = played.user, played.user.folder / "stats.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, gone)")
        database.execute("INSERT INTO t VALUES (1, 2)")
        database.commit()
        described = user.folder / "stats.yaml"
        described.write_text(f"service: stats\ncomponents: {{db: {{kind: sqlite, path: {path}}}}}\n")
        user.does("service", "apply", described)
        user.does("protect", "stats")
        database.execute("ALTER TABLE t DROP COLUMN gone")
    played.says("recover", "stats", "--table", "t")
    played.says("recover", "stats")
    played.says("recover", "stats", "--table", "t", "--to", user.folder / "t.csv")


def _letting_go(played: Play) -> None:
    """Of what a recovery in place has kept."""
    kept = played.user.folder / "stats.db.former"
    kept.write_bytes(b"before" * 100)
    note_former(Home.at(str(played.user.home)), "shop", "stats", str(kept))
    played.says("former")
    played.says("former", "--drop", kept, "--yes")


def _adopting(played: Play) -> None:
    other = User(played.user.folder, home=played.user.folder / "new", vault=played.user.vault)
    words = ("init", "--vault", other.vault, "--join", "--no-passphrase", "--recovery-key-file", played.key)
    played.says(*words, user=other)
    (other.home / "services" / "bad.yaml").write_text("service: bad\n")
    played.says("service", "list", user=other)
    played.says("service", "adopt", "--all", user=other)
    other.does("service", "add", "shop", "--files", other.folder)
    played.says("service", "adopt", "--all", user=other)
    played.says("service", "list", user=other)


def _going_back(played: Play) -> None:
    """A service with a log, and a gap in it."""
    user, folder = played.user, played.user.folder / "diary"
    folder.mkdir()
    user.does("service", "add", "diary", "--files", folder)
    recorder = Recorder(user, folder, "diary")
    recorder.protects()
    recorder.create("page", b"words")
    recorder.rename("page", "leaf")
    recorder.unlink("leaf")
    recorder.commits()
    played.says("undelete", "diary", "--path", "leaf", "--dry-run")
    with patch.object(
        FilesKind, "materialize", lambda *_: Recovered(problems=[Problem(b"leaf", "no")], problem_count=1)
    ):
        played.says("undelete", "diary", "--path", "leaf", status=3)
    (folder / "leaf").mkdir()
    (folder / "leaf" / "in the way").touch()
    played.says("undelete", "diary")
    played.says("ls", "diary")
    recorder.gap()
    recorder.commits()
    recorder.protects()
    played.says("history", "diary", "leaf")
    played.says("undelete", "diary")
    recorder.create("last", b"page")
    recorder.commits()
    played.says("timeline", "diary")
    played.says("timeline", "shop")


def _tidying(played: Play, first: str) -> None:
    user = played.user
    played.says("tidy", "--dry-run")
    played.says("expire", "shop", first, "--dry-run")
    played.says("expire", "shop", first)
    played.says("points", "shop", "--expired")
    played.says("undo", "shop", first)
    user.does("policy", "set", "shop", "any-moment=0", "hourly=0", "daily=0", "weekly=0", "monthly=0", "undo=0")
    user.does("policy", "set", "diary", "any-moment=0", "undo=0")
    shop = Workshop(Home.at(str(user.home)), PLUGINS)
    with shop.vault.session("look"):
        played.says("vault", "status")
        played.says("tidy")
        played.says("vault", "collect")
        played.says("vault", "sessions")
    with shop.vault.session("elsewhere") as session:
        move_away(shop.store, session)
        played.says("vault", "sessions", "end", session.id.hex()[:8], "--dry-run")
        played.says("vault", "sessions", "end", session.id.hex())
    shop.close()
    played.says("vault", "collect", "--dry-run")
    played.says("tidy")
    played.says("vault", "reserve", "1M")


def _keys(played: Play) -> None:
    played.says("vault", "keys", "show")
    played.says("vault", "keys", "kit")
    played.says("vault", "keys", "passphrase", "--no-passphrase")
    played.says("vault", "keys", "rotate", "--no-passphrase")
    for each in (played.user.vault / "keys").iterdir():
        each.unlink()
    played.says("vault", "keys", "restore", "--no-passphrase", "--replaced-key-file", played.key)


def _damage(played: Play) -> None:
    user = played.user
    (played.data / "large").write_bytes(os.urandom(1 << 20))
    played.says("protect", "shop")
    played.says("vault", "check", "--read-data")
    packs = [each for each in (user.vault / "packs").rglob("*") if each.is_file()]
    large = max(packs, key=lambda each: each.stat().st_size)
    os.truncate(large, large.stat().st_size // 2)
    played.says("vault", "check", "--read-data", status=6)
    pages = [each for each in (user.vault / "pages").rglob("*") if each.is_file()]
    min(pages, key=lambda each: each.stat().st_mtime_ns).unlink()
    played.says("vault", "scrub", status=6)
    min(each for each in (user.vault / "pages").rglob("*") if each.is_file()).unlink()
    played.says("vault", "check", "--heal", "--dry-run", status=6)
    played.says("vault", "check", "--heal", status=6)  # what has no parity yet is left
    played.says("vault", "status")
    played.says("recover", "shop", "--to", user.folder / "out", status=3)
    played.says("vault", "rebuild", status=6)
    played.says("doctor", status=1)

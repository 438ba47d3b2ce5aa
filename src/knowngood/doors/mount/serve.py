"""Mount, serve until somebody says stop or unmounts, and leave nothing behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from knowngood.core.errors import NotFound
from knowngood.core.sizes import MIB
from knowngood.doors.mount.filesystem import WANTED, FileSystem, Trouble
from knowngood.doors.mount.inside import MAX_READ
from knowngood.doors.mount.shelf import Listing, Shelf
from knowngood.flow.parts import Parts
from knowngood.linux.fuse.mount import Options, mount, prepare_folder
from knowngood.linux.fuse.server import Server
from knowngood.wire.fuse.opcodes import InitFlag

READAHEAD = 4 * MIB
_THREADS = 4
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(
    folder: str,
    parts: Parts,
    *,
    service: str | None,
    allow_other: bool,
    ready: Callable[[Listing], None],
    trouble: Trouble,
) -> None:
    """Show points below a folder until a signal comes, or somebody unmounts it.

    `ready` is called once everything can be reached. Raises NotFound, UsageError, Unsupported, Locked, Damaged.
    """
    prepare_folder(folder)
    with Shelf(parts, service) as shelf:
        if not shelf.current.services:
            what = f"'{service}' has no point" if service else "the vault has no point"
            raise NotFound(f"{what} to show yet", hint=f"make one with: knowngood protect {service or 'NAME'}")
        files = FileSystem(shelf, trouble)
        with _stopping(shelf.stop):
            mounted = mount(folder, Options(allow_other=allow_other, max_read=MAX_READ))
            server = Server(
                mounted,
                files.handle,
                # ACLs cost a request per file, and matter where others than who mounts can look in.
                wanted=WANTED | (InitFlag.POSIX_ACL if allow_other else 0),
                threads=_THREADS,
                max_read=MAX_READ,
                failed=files.failed,
                ended=shelf.stop,
            )
            server.start()
            try:
                mounted.learn(READAHEAD)
                ready(shelf.current)
                shelf.run()
            finally:
                server.stop()


@contextmanager
def _stopping(stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs, the signals that end a program call `stop` instead."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
        yield
        return
    former = {each: signal.signal(each, lambda *_: stop()) for each in _STOPPING}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)

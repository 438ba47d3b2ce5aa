"""Apart: servers and checks run in a thread that cannot reach the host, as far as that is allowed here."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass

from knowngood.linux.namespace import hide_sockets, leave_network

_ENDING = 5.0


@dataclass(slots=True)
class Isolation:
    """What is out of reach: the host's network; the sockets in its file system. Both take root."""

    network: bool = False
    sockets: bool = False


def apart(act: Callable[[], None], end: Callable[[], None], folder: str) -> Isolation:
    """Run it in another thread, which alone leaves the host's network and does not see its sockets; all that it starts
    stays there. `folder` is where its own files are.

    Raises what it raises; interrupted, `end` makes sure that it has nothing to wait for.
    """
    raised: list[BaseException] = []
    isolation = Isolation()

    def run() -> None:
        with contextlib.suppress(OSError):  # not root: it is said
            leave_network()
            isolation.network = True
        with contextlib.suppress(OSError):
            hide_sockets((folder, tempfile.gettempdir()))
            isolation.sockets = True
        try:
            act()
        except BaseException as wrong:  # noqa: BLE001 - raised again, in the thread that waits
            raised.append(wrong)

    thread = threading.Thread(target=run, name="apart", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(1.0)  # a signal is seen in between
    except BaseException:
        end()
        thread.join(_ENDING)
        raise
    if raised:
        raise raised[0]
    return isolation

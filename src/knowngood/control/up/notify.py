"""What a service manager is told: ready, what is going on, still alive, stopping (sd_notify(3), systemd.service(5))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class Notifier:
    """Datagrams to the service manager; says nothing where there is none, and fails at nothing."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._said = ""
        self.watchdog = watchdog
        """Seconds after which the manager takes a silent process for dead; 0 when it does not watch."""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Notifier:
        """Who started us said where. The words are taken out: programs that we start must not speak for us."""
        address = environment.pop(_SOCKET, "")
        micros = environment.pop(_WATCHDOG, "")
        process = environment.pop(_WATCHDOG_PID, "")
        ours = process in ("", str(os.getpid()))
        return cls(address, int(micros) / 1e6 if ours and micros.isdecimal() else 0.0)

    def ready(self) -> None:
        """All is set up; whoever waits for us may go on."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for people, seen in `systemctl status`."""
        if text != self._said:
            self._said = text
            self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.setblocking(False)  # a manager that does not listen must not stop us
            to.sendto(message.encode("utf-8", "replace"), self._address)

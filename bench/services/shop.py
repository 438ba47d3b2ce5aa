"""A service that is followed by a real `knowngood up`: its home, its vault, its keeper's events."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from bench.continuous.figures import until
from knowngood.control.home import Home
from knowngood.control.up.client import ask
from knowngood.control.up.protocol import Request

KNOWNGOOD = Path(os.environ.get("KNOWNGOOD_BIN", Path(sys.prefix, "bin", "knowngood")))
SERVICE = "shop"
_SECONDS = 300.0


class Component(Protocol):
    """What can be a component of the service."""

    @property
    def described(self) -> str:
        """As a service file has it."""
        ...


class Shop:
    """A home with one service in it."""

    def __init__(self, folder: Path, components: Mapping[str, Component], policy: str) -> None:
        """`policy` is what a service file says there, between braces."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.vault, self.home = folder / "vault", folder / "home"
        self.env = {**os.environ, "KNOWNGOOD_HOME": str(self.home)}
        self.keeper: subprocess.Popen[str] | None = None
        self.events: list[dict[str, Any]] = []
        self.call("init", "--vault", self.vault, "--no-passphrase")
        lines = [f"  {name}: {each.described}" for name, each in components.items()]
        described = folder / "shop.yaml"
        described.write_text("\n".join([f"service: {SERVICE}", "components:", *lines, f"policy: {{{policy}}}", ""]))
        self.call("service", "apply", described)

    def call(self, *words: str | Path) -> str:
        """What a command says."""
        argv = [str(each) for each in (KNOWNGOOD, *words)]
        done = subprocess.run(argv, env=self.env, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def asks(self, *words: str | Path) -> Any:
        """The document that a command gives."""
        return json.loads(self.call(*words, "--json"))

    @property
    def pid(self) -> int:
        """The keeper's."""
        assert self.keeper is not None
        return self.keeper.pid

    @contextmanager
    def followed(self, nice: int = 0) -> Iterator[None]:
        """While the block runs, the keeper follows all components; from when each has a base on."""
        command = ["nice", "-n", str(nice), str(KNOWNGOOD), "up", "--events"]
        with ExitStack() as ending:
            self.events = []
            pipe = subprocess.PIPE
            self.keeper = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=pipe, text=True)
            reading = threading.Thread(target=self._read, args=(self.keeper,), daemon=True)
            reading.start()
            ending.callback(self._end, reading)
            until(self.is_followed, _SECONDS, 0.5)
            yield

    def _read(self, keeper: subprocess.Popen[str]) -> None:
        assert keeper.stderr is not None
        for line in keeper.stderr:
            self.events.append(json.loads(line))

    def _end(self, reading: threading.Thread) -> None:
        assert self.keeper is not None
        self.keeper.terminate()
        self.keeper.wait()
        reading.join()
        self.keeper = None

    def is_followed(self) -> bool:
        """Whether all components are, with nothing that is behind."""
        argv = [str(KNOWNGOOD), "status", "--json"]
        done = subprocess.run(argv, env=self.env, check=False, capture_output=True, text=True)
        found = [each for one in json.loads(done.stdout or "{}").get("services", []) for each in one["followers"]]
        return bool(found) and all(each["behind"] is not None for each in found)

    def point(self, level: str = "L1") -> dict[str, Any]:
        """Have the keeper make a point now; its event, from which its evidence can be asked for."""
        had = sum(each["event"] == "point" for each in self.events)
        answer = ask(Home.at(str(self.home)), Request("protect", SERVICE, "", level))
        assert answer is not None
        assert answer.done, answer
        end = time.monotonic() + _SECONDS
        while True:
            made = [each for each in self.events if each["event"] == "point"]
            if len(made) > had:
                return made[-1]
            if time.monotonic() > end:
                raise TimeoutError(self.events[-3:])
            time.sleep(0.002)

    def size(self) -> int:
        """Bytes of the vault, without its reserve."""
        files = (each for each in self.vault.rglob("*") if each.is_file())
        return sum(each.stat().st_size for each in files if "reserve" not in each.parts)

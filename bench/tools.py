"""The tools under test, with the same verbs for each.

Every tool runs at its defaults with two exceptions: encryption is on, and where the
default is another codec, compression is set to zstd at level 3 or the nearest to it.
A verb is a list of commands; what only prepares a verb (to ask for the name of a
point, say) is run unmeasured by ``ask``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

BINARIES = Path(os.environ.get("KNOWNGOOD_BENCH_TOOLS", "~/.cache/knowngood-bench")).expanduser()
_CHECKOUT = Path(__file__).resolve().parent.parent
_SECRET = "a pass phrase of the benchmark"


@dataclass(frozen=True)
class Command:
    """One command line, and the folder it is run in."""

    argv: list[str]
    cwd: Path = Path("/")


def tree_bytes(root: Path) -> int:
    """The sum of the lengths of all regular files under a folder."""
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total


class Tool(ABC):
    """One tool with a fresh vault in ``home``, protecting ``source``."""

    name: str
    places: tuple[Path, ...]

    def __init__(self, home: Path, source: Path) -> None:
        self.source = source
        self.vault = home / "vault"
        self.state = home / "state"
        self._points = 0
        for folder in (self.state, self.state / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._targets = 0
        self.target = home

    def next_target(self) -> Path:
        """A new folder to restore into; nothing is deleted during a turn (`bench/ground.py` says why)."""
        self._targets += 1
        self.target = self._home / f"restored-{self._targets}"
        self.target.mkdir()
        return self.target

    @classmethod
    def binary(cls) -> str:
        """Where the executable is; empty when the tool is not installed."""
        for place in cls.places:
            if os.access(place, os.X_OK):
                return str(place)
        return shutil.which(cls.name) or ""

    @classmethod
    def version(cls) -> str:
        """What the tool says of its own version, on one line."""
        done = subprocess.run([cls.binary(), "--version"], capture_output=True, text=True, check=False)
        return " ".join((done.stdout or done.stderr).split()[:4])

    def env(self) -> dict[str, str]:
        """The whole environment of the commands: all state stays in the scratch folder."""
        state = str(self.state)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": state,
            "XDG_CACHE_HOME": f"{state}/cache",
            "XDG_CONFIG_HOME": f"{state}/config",
            "TMPDIR": f"{state}/tmp",
            **self.settings(),
        }

    def settings(self) -> dict[str, str]:
        """The tool's own environment variables."""
        return {}

    def ask(self, *words: str) -> str:
        """Run the tool unmeasured and return what it prints."""
        argv = [self.binary(), *words]
        done = subprocess.run(argv, env=self.env(), capture_output=True, text=True, check=True)
        return done.stdout

    def call(self, *words: str, cwd: Path = Path("/")) -> list[Command]:
        """A verb of a single command."""
        return [Command([self.binary(), *words], cwd)]

    def vault_bytes(self) -> int:
        """How much is stored in the vault."""
        return tree_bytes(self.vault)

    def state_bytes(self) -> int:
        """How much the tool keeps outside the vault: caches, settings, catalogues."""
        return tree_bytes(self.state)

    @abstractmethod
    def init(self) -> list[Command]:
        """Make an empty vault, encryption on."""

    @abstractmethod
    def protect(self) -> list[Command]:
        """Take one point of the source."""

    @abstractmethod
    def restore(self, to: Path) -> list[Command]:
        """Bring the newest point back into an empty folder."""

    @abstractmethod
    def drop_oldest(self) -> list[Command]:
        """Forget all points but the newest."""

    @abstractmethod
    def collect(self) -> list[Command]:
        """Give the room of forgotten points back at once."""


class Knowngood(Tool):
    """Knowngood itself; the only place here which knows its command line."""

    name = "knowngood"
    places = (Path(os.environ.get("KNOWNGOOD_BIN", _CHECKOUT / ".venv/bin/knowngood")),)

    def settings(self) -> dict[str, str]:
        return {"KNOWNGOOD_HOME": str(self.state / "home")}

    def init(self) -> list[Command]:
        add = self.call("service", "add", "bench", "--files", str(self.source))
        return self.call("init", "--vault", str(self.vault), "--no-passphrase") + add

    def protect(self) -> list[Command]:
        return self.call("protect", "bench")

    def restore(self, to: Path) -> list[Command]:
        return self.call("recover", "bench", "--at", "latest", "--to", str(to))

    def points(self) -> list[str]:
        """The names of all points, the oldest first."""
        answer = json.loads(self.ask("points", "bench", "--json"))
        rows = answer["points"]
        rows.sort(key=lambda row: str(row["moment"]))
        return [str(row["id"]) for row in rows]

    def drop_oldest(self) -> list[Command]:
        return self.call("expire", "bench", *self.points()[:-1])

    def collect(self) -> list[Command]:
        return self.call("vault", "collect", "--now")


class Restic(Tool):
    """restic: its ``auto`` compression is zstd at its library's default level, about 3."""

    name = "restic"
    places = (BINARIES / "bin/restic",)

    @classmethod
    def version(cls) -> str:
        done = subprocess.run([cls.binary(), "version"], capture_output=True, text=True, check=False)
        return " ".join(done.stdout.split()[:2])

    def settings(self) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": str(self.vault),
            "RESTIC_PASSWORD": _SECRET,
            "RESTIC_CACHE_DIR": str(self.state / "restic-cache"),
        }

    def init(self) -> list[Command]:
        return self.call("init", "--quiet")

    def protect(self) -> list[Command]:
        return self.call("backup", "--quiet", str(self.source))

    def restore(self, to: Path) -> list[Command]:
        return self.call("restore", "--quiet", f"latest:{self.source}", "--target", str(to))

    def drop_oldest(self) -> list[Command]:
        return self.call("forget", "--quiet", "--keep-last", "1")

    def collect(self) -> list[Command]:
        return self.call("prune", "--quiet")


class Rustic(Tool):
    """rustic: zstd at its library's default level, 3, is its own default.

    ``prune`` repacks at most a tenth of the vault by default; the limit is taken off.
    """

    name = "rustic"
    places = (BINARIES / "rustic/bin/rustic",)

    def settings(self) -> dict[str, str]:
        return {
            "RUSTIC_REPOSITORY": str(self.vault),
            "RUSTIC_PASSWORD": _SECRET,
            "RUSTIC_CACHE_DIR": str(self.state / "rustic-cache"),
            "RUSTIC_NO_PROGRESS": "true",
            "RUSTIC_LOG_LEVEL": "warn",
        }

    def init(self) -> list[Command]:
        return self.call("init")

    def protect(self) -> list[Command]:
        return self.call("backup", str(self.source))

    def restore(self, to: Path) -> list[Command]:
        return self.call("restore", f"latest:{self.source}", str(to))

    def drop_oldest(self) -> list[Command]:
        return self.call("forget", "--keep-last", "1")

    def collect(self) -> list[Command]:
        return self.call("prune", "--instant-delete", "--max-repack", "unlimited")


class Kopia(Tool):
    """kopia: compression is off by default; the policy sets ``zstd``, its default level."""

    name = "kopia"
    places = (BINARIES / "bin/kopia",)

    @classmethod
    def version(cls) -> str:
        return f"kopia {super().version().split()[0]}"

    def settings(self) -> dict[str, str]:
        return {
            "KOPIA_PASSWORD": _SECRET,
            "KOPIA_CONFIG_PATH": str(self.state / "kopia.config"),
            "KOPIA_CACHE_DIRECTORY": str(self.state / "kopia-cache"),
            "KOPIA_LOG_DIR": str(self.state / "kopia-log"),
            "KOPIA_CHECK_FOR_UPDATES": "false",
        }

    def call(self, *words: str, cwd: Path = Path("/")) -> list[Command]:
        return super().call(*words, "--config-file", str(self.state / "kopia.config"), "--no-progress", cwd=cwd)

    def init(self) -> list[Command]:
        cache = str(self.state / "kopia-cache")
        create = self.call("repository", "create", "filesystem", "--path", str(self.vault), "--cache-directory", cache)
        return create + self.call("policy", "set", "--global", "--compression=zstd")

    def protect(self) -> list[Command]:
        return self.call("snapshot", "create", str(self.source))

    def points(self) -> list[str]:
        """The names of all snapshots, the oldest first."""
        rows = json.loads(self.ask("snapshot", "list", "--all", "--json"))
        return [row["id"] for row in sorted(rows, key=lambda row: row["startTime"])]

    def restore(self, to: Path) -> list[Command]:
        return self.call("restore", self.points()[-1], str(to))

    def drop_oldest(self) -> list[Command]:
        return self.call("snapshot", "delete", "--delete", *self.points()[:-1])

    def collect(self) -> list[Command]:
        return self.call("maintenance", "run", "--full", "--safety=none")


class Borg(Tool):
    """Borg 1.4: its default codec is lz4; the benchmark sets zstd at level 3."""

    name = "borg"
    places = (BINARIES / "borg/bin/borg",)

    def settings(self) -> dict[str, str]:
        return {
            "BORG_REPO": str(self.vault),
            "BORG_PASSPHRASE": _SECRET,
            "BORG_BASE_DIR": str(self.state),
        }

    def init(self) -> list[Command]:
        return self.call("init", "--encryption", "repokey-blake2")

    def protect(self) -> list[Command]:
        self._points += 1
        return self.call("create", "--compression", "zstd,3", f"::point-{self._points:03d}", ".", cwd=self.source)

    def restore(self, to: Path) -> list[Command]:
        return self.call("extract", f"::point-{self._points:03d}", cwd=to)

    def drop_oldest(self) -> list[Command]:
        return self.call("prune", "--keep-last", "1")

    def collect(self) -> list[Command]:
        return self.call("compact")


TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Knowngood, Restic, Rustic, Kopia, Borg)}

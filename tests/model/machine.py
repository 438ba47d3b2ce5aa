"""The protocols of a vault as models, which spin looks through: every order of steps, a death between any two of them.

`python -m tests.model.machine` looks through as much as minutes allow (`make proof-model`). The tests here do so with
less that happens, and break each rule of the protocols once: so the models are known to notice.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """One model with its bounds. `hashed`: visited states are kept as bits of a hash, `megabytes` of them; more fit so,
    and a part may be left out."""

    name: str
    bounds: str
    hashed: bool = False
    megabytes: int = 2000
    minutes: int = 4

    def __str__(self) -> str:
        return f"{self.name} {self.bounds}"


@dataclass(frozen=True)
class Seen:
    """What spin found: `error` is empty when nothing was wrong; `whole` when there is no state that it did not look at,
    within the bounds."""

    error: str
    states: int
    whole: bool


@dataclass(frozen=True)
class Broken:
    """A rule, the number that breaks it, and the model in which that has to be noticed."""

    rule: str
    number: int
    model: Model

    def __str__(self) -> str:
        return f"{self.model.name}-{self.number} {self.rule}"


SHORT = (
    Model("vault", "-DRUNS=1 -DKILLS=0 -DENDINGS=0"),
    Model("vault", "-DWRITERS=3 -DROLES -DRUNS=1 -DKILLS=0 -DENDINGS=0"),
    Model("log", "-DWRITERS=2 -DFOLDERS=1 -DKILLS=0 -DENDINGS=1"),
)
LONG = (
    Model("vault", "-DRUNS=2 -DKILLS=0 -DENDINGS=0"),
    Model("vault", "-DRUNS=1 -DKILLS=1 -DENDINGS=0"),
    Model("vault", "-DCOLLECTORS=2 -DROLES -DRUNS=2 -DKILLS=1 -DENDINGS=0"),
    Model("vault", "-DWRITERS=3 -DROLES -DRUNS=2 -DKILLS=1 -DENDINGS=0"),
    Model("vault", "-DRUNS=2 -DKILLS=1 -DENDINGS=1", hashed=True, megabytes=512),
    Model("log", "-DWRITERS=2 -DFOLDERS=1 -DKILLS=1 -DENDINGS=1"),
    Model("log", "-DWRITERS=2 -DFOLDERS=2 -DKILLS=1 -DENDINGS=1", hashed=True, megabytes=512),
    Model("log", "-DWRITERS=3 -DFOLDERS=1 -DKILLS=1 -DENDINGS=1", hashed=True, megabytes=512),
)
_VAULT = Model("vault", "", hashed=True, megabytes=32, minutes=1)
_ENDED = Model("vault", "-DRUNS=1 -DKILLS=0", hashed=True, megabytes=32, minutes=1)
_ALONE = Model("vault", "-DCOLLECTORS=2 -DKILLS=0 -DENDINGS=0", hashed=True, megabytes=32, minutes=1)
_ROLES = Model("vault", "-DWRITERS=3 -DROLES -DRUNS=1 -DKILLS=0 -DENDINGS=0")
_LOG = Model("log", "-DWRITERS=2 -DFOLDERS=1", hashed=True, megabytes=32, minutes=1)
_LONGER = Model("log", "-DWRITERS=2 -DFOLDERS=1 -DKILLS=0 -DCOMMITS=4", hashed=True, megabytes=32, minutes=1)
BROKEN = (
    Broken("a session looks at the epoch again after its announcement (INV-5)", 1, _VAULT),
    Broken("nothing is deleted before the index without it is in force (INV-7)", 2, _VAULT),
    Broken("a collector waits for sessions that are older than what it condemned (INV-5)", 3, _VAULT),
    Broken("who ends a session puts a fence (INV-3)", 4, _ENDED),
    Broken("nobody refers to condemned packs (INV-6)", 5, _VAULT),
    Broken("a commit is put after what it needs (INV-2)", 6, _VAULT),
    Broken("a collector surveys again when something came since (INV-7)", 7, _VAULT),
    Broken("a condemned pack that is made again is spared (INV-7)", 8, _VAULT),
    Broken("two that keep the vault in order give way (INV-9)", 9, _ALONE),
    Broken("points go before what hides them (INV-10)", 10, _VAULT),
    Broken("what is being collected is not brought back (INV-10)", 11, _VAULT),
    Broken("points that the epoch purges are not relied on (INV-6)", 12, _ROLES),
    Broken("no commit of an announced session is deleted (INV-3)", 13, _ENDED),
    Broken("a run that is made again is not superseded (INV-2)", 14, _VAULT),
    Broken("who continues a log looks for others (INV-11)", 1, _LOG),
    Broken("who ends a session puts a fence (INV-3)", 2, _LOG),
    Broken("the end of a log is read after the announcement (INV-11)", 3, _LOG),
    Broken("what was folded goes after the commit of what stands for it (INV-12)", 4, _LOG),
    Broken("commits of sessions that are announced are not taken away (INV-3)", 5, _LONGER),
    Broken("a commit is put after its segment (INV-2)", 6, _LOG),
)


def look_through(model: Model, broken: int = 0) -> Seen:
    """Make spin look through a model. Raises CalledProcessError when it cannot be made into a program."""
    with tempfile.TemporaryDirectory() as made:
        bounds = [*model.bounds.split(), f"-DBROKEN={broken}"]
        _run(["spin", *bounds, "-a", str(FOLDER / f"{model.name}.pml")], made)
        how = ["-DBITSTATE"] if model.hashed else ["-DCOLLAPSE", f"-DMEMLIM={model.megabytes}"]
        _run(["gcc", "-O0" if broken else "-O2", "-w", "-DSAFETY", *how, "-o", "pan", "pan.c"], made)
        size = [f"-w{(model.megabytes * 2**23).bit_length() - 1}"] if model.hashed else []
        said = _run(["./pan", "-m100000", "-n", f"-Q{model.minutes}", *size], made)
    states = re.search(r"^ *(\d+) states, stored", said, re.MULTILINE)
    error = re.search(r"^pan:1: (.*)", said, re.MULTILINE)
    whole = not model.hashed and not re.search("ot completed|time limit|max search depth too small|out of memory", said)
    return Seen(error.group(1) if error else "", int(states.group(1)) if states else 0, whole=whole and error is None)


def _run(command: list[str], folder: str) -> str:
    return subprocess.run(
        command, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Look through all there is; 1 when something is wrong."""
    failed = 0
    for each in BROKEN:
        seen = look_through(each.model, each.number)
        failed += not seen.error
        _say(f"{'noticed' if seen.error else 'NOT NOTICED'}: without '{each.rule}'")
    for model in (*SHORT, *LONG):
        seen = look_through(model)
        failed += bool(seen.error)
        verdict = "WRONG: " + seen.error if seen.error else "nothing is wrong"
        extent = "every state" if seen.whole else "a part of the states"
        _say(f"{verdict}: {model}, {extent}, {seen.states:,} looked at")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

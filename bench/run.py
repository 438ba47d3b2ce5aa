"""Run the tools side by side on the same data and measure every step.

    python -m bench.run --tools knowngood,restic --workloads small,source --rounds 3

The tools take turns in every round (A B C, A B C, ...), each with a fresh vault.
Every measured step is in the results, failed ones too.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.changes import Changer
from bench.ground import available, fresh
from bench.measure import Usage, measured
from bench.report import BASE, markdown
from bench.tools import TOOLS, Command, Tool
from bench.verify import differences
from bench.workloads import MIB, SCRATCH, WORKLOADS, Data, prepare

STEPS = (
    "init", "protect", "unchanged", "restore", "one_percent", "drop_half", "expire", "collect", "restore_last",
)  # fmt: skip
_CHANGES = ("one_percent", "drop_half")


def read_through(root: Path) -> None:
    """Read every file once, so that each tool begins with the same warm cache."""
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                fd = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                continue
            while os.read(fd, MIB):
                pass
            os.close(fd)


def busy_seconds() -> float:
    """CPU seconds the whole machine has spent since it started, stolen time included."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def claim(scratch: Path) -> int:
    """Hold the scratch folder for this run; a second run there would spoil both."""
    scratch.mkdir(parents=True, exist_ok=True)
    fd = os.open(scratch / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit(f"another run uses {scratch}; name another folder with --scratch") from None
    return fd


class Cycle:
    """One tool's turn on one workload: all steps, one after the other, on a fresh vault."""

    def __init__(self, tool: Tool, data: Data, *, cold: bool) -> None:
        self.tool, self.data, self.cold = tool, data, cold
        self.changer = Changer(data)

    def run(self, steps: list[str], keep: Callable[[dict[str, Any]], None]) -> None:
        """Do the steps and hand every row to ``keep``; a failed step ends the turn."""
        for step in steps:
            if step in _CHANGES:
                self.changer.apply(step)
            row = self._step(step)
            keep(row)
            if row["code"]:
                return

    def _step(self, step: str) -> dict[str, Any]:
        """Prepare, measure and check one step."""
        usage, settle, others = Usage(), 0.0, 0.0
        try:
            commands = self._commands(step)
            self._still()
            busy = busy_seconds()
            for command in commands:
                usage = usage.plus(measured(command.argv, self.tool.env(), command.cwd))
                if usage.code:
                    break
            others = max(0.0, busy_seconds() - busy - usage.user - usage.system)
            start = time.perf_counter()
            os.sync()
            settle = time.perf_counter() - start
        except (subprocess.CalledProcessError, OSError, ValueError, LookupError) as problem:
            usage = usage.plus(Usage(code=1, error=repr(problem)))
        row = {"step": step, "others": others, "settle": settle, **asdict(usage)}
        row["vault_bytes"], row["state_bytes"] = self.tool.vault_bytes(), self.tool.state_bytes()
        if step.startswith("restore"):
            row["differences"] = differences(self.data.root, self.tool.target) if not usage.code else []
        return row

    def _still(self) -> None:
        """Nothing left to write; with ``cold`` nothing left in the page cache either."""
        os.sync()
        if self.cold:
            Path("/proc/sys/vm/drop_caches").write_text("3\n")

    def _commands(self, step: str) -> list[Command]:
        """The commands of one step."""
        if step in ("protect", "unchanged", *_CHANGES):
            return self.tool.protect()
        if step in ("restore", "restore_last"):
            return self.tool.restore(self.tool.next_target())
        verbs = {"init": self.tool.init, "expire": self.tool.drop_oldest, "collect": self.tool.collect}
        return verbs[step]()


class Run:
    """All rounds of all workloads; the results are written after every turn."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        names = options.tools.split(",")
        self.tools = [TOOLS[name] for name in names if TOOLS[name].binary()]
        self.result: dict[str, Any] = {
            "machine": {
                "cores": os.cpu_count(),
                "kernel": platform.release(),
                "python": platform.python_version(),
                "ground": "a new ext4 for each turn" if available() else "a folder",
            },
            "options": {key: str(value) for key, value in vars(options).items()},
            "versions": {tool.name: tool.version() for tool in self.tools},
            "skipped": {name: "not installed" for name in names if not TOOLS[name].binary()},
            "data": {},
            "rows": [],
        }

    def go(self) -> None:
        """Every workload, every round, every tool."""
        for name in self.options.workloads.split(","):
            data = prepare(name, self.options.scratch, self.options.scale)
            self.result["data"][name] = {"files": data.files, "bytes": data.size}
            for number in range(1, self.options.rounds + 1):
                for tool in self.tools:
                    self._turn(tool, data, number)
                    self._save()

    def _turn(self, kind: type[Tool], data: Data, number: int) -> None:
        """One tool's turn in one round."""
        home = self.options.scratch / "turn"
        changer = Changer(data)
        changer.revert()
        if not self.options.cold:
            read_through(data.root)
        about = {"workload": data.name, "round": number, "tool": kind.name}

        def keep(row: dict[str, Any]) -> None:
            self.result["rows"].append({**about, **row})
            cpu, peak = row["user"] + row["system"], row["rss"] / 2**20
            line = f"{data.name} {number} {kind.name} {row['step']}: {row['wall']:.2f} s, CPU {cpu:.2f} s"
            notes = " ".join((row["error"], *row.get("differences", ())))
            print(f"{line}, {peak:.0f} MiB, vault {row['vault_bytes'] / 1e6:.1f} MB {notes}", flush=True)

        try:
            with fresh(home, data):
                Cycle(kind(home, data.root), data, cold=self.options.cold).run(self.options.steps, keep)
        finally:
            changer.revert()

    def _save(self) -> None:
        """Write the results as they are now, as JSON and as tables."""
        out: Path = self.options.out
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(self.result, indent=1))
        out.with_suffix(".md").write_text(markdown(self.result))


def _steps(text: str) -> list[str]:
    """The steps named on the command line, in the order in which they must be done."""
    wanted = text.split(",")
    if unknown := sorted(set(wanted) - set(STEPS)):
        raise argparse.ArgumentTypeError(f"no such step: {', '.join(unknown)}")
    return [step for step in STEPS if step in wanted or step in ("init", "protect")]


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", default=",".join(TOOLS), help=f"some of {', '.join(TOOLS)}")
    parser.add_argument("--workloads", default="small,source", help=f"some of {', '.join(WORKLOADS)}")
    parser.add_argument("--steps", type=_steps, default=list(STEPS), help=f"some of {', '.join(STEPS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size of the data")
    parser.add_argument("--scratch", type=Path, default=SCRATCH)
    parser.add_argument("--cold", action="store_true", help="empty the page cache before every step (as root)")
    parser.add_argument("--out", type=Path, default=SCRATCH / "results" / "results.json")
    options = parser.parse_args()
    for given, known in ((options.tools, TOOLS), (options.workloads, WORKLOADS)):
        if unknown := sorted(set(given.split(",")) - set(known)):
            parser.error(f"not known: {', '.join(unknown)}")
    held = claim(options.scratch)
    run = Run(options)
    run.go()
    os.close(held)
    for name, reason in run.result["skipped"].items():
        print(f"{name}: skipped, {reason}")
    print(options.out.with_suffix(".md").read_text())
    if BASE in run.result["skipped"]:
        print(f"Without {BASE} there are no ratios.")


if __name__ == "__main__":
    main()

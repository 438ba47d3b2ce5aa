"""Figures against what is asked of them: a table as they come, and a document in the end."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, and what is asked: no more than `most`, no less than `least`, where there are such."""

    what: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether it is as asked; None where nothing is."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    def line(self) -> str:
        """As a line of a table."""
        sign, bound = ("≤", self.most) if self.most is not None else ("≥", self.least)
        asked = "" if bound is None else f"{sign} {bound:g} {self.unit}"
        kept = {None: "", True: "yes", False: "**no**"}[self.kept]
        return f"| {self.what} | {_short(self.value)} {self.unit} | {asked} | {kept} |"


@dataclass(slots=True)
class Table:
    """All rows so far; each is printed when it is known."""

    rows: list[Row] = field(default_factory=list[Row])
    notes: list[str] = field(default_factory=list[str])

    def add(self, what: str, value: float, unit: str, most: float | None = None, *, least: float | None = None) -> None:
        """One more."""
        if not self.rows:
            print("| what | measured | asked | kept |\n|---|---|---|---|")
        self.rows.append(Row(what, value, unit, most, least))
        print(self.rows[-1].line(), flush=True)

    def note(self, text: str) -> None:
        """Something to know, such as what was left out and why."""
        self.notes.append(text)
        print(f"| {text} | | | |", flush=True)

    def write(self, path: Path) -> None:
        """As a document."""
        machine = {"cpus": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()}
        rows = [{**asdict(each), "kept": each.kept} for each in self.rows]
        document = {"at": time.time(), "machine": machine, "rows": rows, "notes": self.notes}
        path.write_text(json.dumps(document, indent=1) + "\n")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or math.floor(value) == value else f"{value:.3g}"


def quantile(ordered: list[float], part: float) -> float:
    """Of values in order."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

"""Medians and ratios of measured runs, as Markdown tables.

python -m bench.report results.json [more.json ...]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]
BASE = "knowngood"
_QUIET = 0.15  # CPU seconds of other programs per second of a step that need no mention
_HEAD = ("step", "tool", "n", "wall s", "CPU s", "peak MiB", "vault MB", "wall ratio", "CPU ratio", "notes")


def _median(rows: list[Row], value: Callable[[Row], float]) -> float:
    """The median over the rounds."""
    return median(value(row) for row in rows)


def _cpu(row: Row) -> float:
    return float(row["user"] + row["system"])


def _ratio(mine: float, base: float | None) -> str:
    """How many times the base's figure this one is."""
    return f"{mine / base:.2f}" if base else ""


def _notes(rows: list[Row]) -> str:
    """What went wrong, in words, and the spread of the wall times."""
    words: list[str] = []
    for row in rows:
        if row["code"]:
            words.append(f"round {row['round']} failed ({row['code']})")
        if row.get("differences"):
            words.append(f"round {row['round']}: {'; '.join(row['differences'])}")
    walls = sorted(row["wall"] for row in rows)
    if len(walls) > 1:
        words.append(f"{walls[0]:.1f}-{walls[-1]:.1f} s")
    others = _median(rows, lambda row: row.get("others", 0.0))
    if others > _QUIET * _median(rows, lambda row: row["wall"]):
        words.append(f"other programs used {others:.1f} CPU s meanwhile")
    return "; ".join(words)


def _line(step: str, tool: str, rows: list[Row], base: list[Row]) -> str:
    """One line of a table."""
    good = [row for row in rows if not row["code"]]
    if not good:
        cells = [step, tool, str(len(rows)), "", "", "", "", "", "", _notes(rows)]
        return f"| {' | '.join(cells)} |"
    wall, cpu = _median(good, lambda row: row["wall"]), _median(good, _cpu)
    cells = [
        step,
        tool,
        str(len(rows)),
        f"{wall:.2f}",
        f"{cpu:.2f}",
        f"{_median(good, lambda row: row['rss']) / 2**20:.0f}",
        f"{_median(good, lambda row: row['vault_bytes']) / 1e6:.1f}",
        _ratio(wall, _median(base, lambda row: row["wall"]) if base else None),
        _ratio(cpu, _median(base, _cpu) if base else None),
        _notes(rows),
    ]
    return f"| {' | '.join(cells)} |"


def _in_order(values: Iterable[str]) -> list[str]:
    """The different values in the order of their first use."""
    return list(dict.fromkeys(values))


def _table(rows: list[Row]) -> list[str]:
    """The table of one workload."""
    lines = [f"| {' | '.join(_HEAD)} |", "|---|---|" + "---:|" * 7 + "---|"]
    for step in _in_order(row["step"] for row in rows):
        here = [row for row in rows if row["step"] == step]
        base = [row for row in here if row["tool"] == BASE and not row["code"]]
        tools = _in_order(row["tool"] for row in here)
        lines += [_line(step, tool, [row for row in here if row["tool"] == tool], base) for tool in tools]
    return lines


def markdown(result: dict[str, Any]) -> str:
    """The whole report of one or more runs put together."""
    lines = [
        f"Medians over the rounds (n); ratios are the tool's figure divided by {BASE}'s.",
        "Peak is the largest process of the tool's tree; the vault is as it stands after the step.",
        "",
        *(f"- {name}: {version}" for name, version in result["versions"].items()),
        *(f"- {name}: skipped, {reason}" for name, reason in result["skipped"].items()),
    ]
    for name in _in_order(row["workload"] for row in result["rows"]):
        data = result["data"][name]
        lines += ["", f"## {name}: {data['files']} files, {data['bytes'] / 1e9:.2f} GB", ""]
        lines += _table([row for row in result["rows"] if row["workload"] == name])
    return "\n".join(lines) + "\n"


def merged(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one; rounds keep their numbers."""
    whole: dict[str, Any] = {"versions": {}, "skipped": {}, "data": {}, "rows": []}
    for result in results:
        for part in ("versions", "skipped", "data"):
            whole[part].update(result[part])
        whole["rows"] += result["rows"]
    whole["skipped"] = {name: why for name, why in whole["skipped"].items() if name not in whole["versions"]}
    return whole


if __name__ == "__main__":
    print(markdown(merged([json.loads(Path(name).read_text()) for name in sys.argv[1:]])))

"""The report of a drill as a page that can be read anywhere: one file, nothing loaded, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from knowngood.core.sizes import bytes_text, span_text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }
h1 { font-size: 1.6rem; margin-bottom: 0 }
.outcome { font-size: 1.2rem; font-weight: 600; padding: .2rem .8rem; border-radius: .3rem; display: inline-block }
.proven, .passed { background: #d9f2e3; color: #0b5a2b }
.suspect, .failed, .hung { background: #fbdcdc; color: #8a1212 }
.unproven, .left { background: #fdf0cf; color: #6b4a00 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d7dee6; vertical-align: top }
td.number, th.number { text-align: right } code { font-size: .85rem; word-break: break-all } .small { color: #5a6875 }
@media (prefers-color-scheme: dark) { body { background: #12181f; color: #dde5ee } th, td { border-color: #2c3845 } }
"""


def page(report: Mapping[str, Any], key: str) -> str:
    """The page. Whatever stands in the report is shown as text."""
    outcome = str(report["outcome"])
    title = f"Drill of {report['service']}"
    parts = [
        f"<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>",
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
        f"<p class=small>{escape(str(report['started']))} on {escape(str(report['host']))}</p>",
        f'<p><span class="outcome {escape(outcome)}">{escape(outcome)}</span></p>',
        *(f"<p>{escape(str(each))}</p>" for each in report["reasons"]),
        _facts(report),
        _components(report["components"]),
        _checks(report["checks"]),
        f"<p class=small>The JSON file beside this page is signed with the Ed25519 key <code>{escape(key)}</code>;",
        "<code>knowngood drills</code> verifies it.</p></body></html>\n",
    ]
    return "\n".join(parts)


def _facts(report: Mapping[str, Any]) -> str:
    promised = "nothing is promised" if report["rto"] is None else span_text(report["rto"])
    kept = {True: "kept", False: "NOT kept", None: ""}[report["rto_kept"]]
    rows = [
        ("point", f"{report['point']}, level {report['level']}"),
        ("moment", report["moment"]),
        ("recovery took", span_text(report["seconds"])),
        ("promised (rto)", f"{promised} {kept}".strip()),
        (
            "network",
            "of its own: nothing outside could be reached" if report["isolated"] else "the host's: not run as root",
        ),
        (
            "sockets of the host",
            "hidden: no server of it could be reached" if report["sockets_hidden"] else "could be seen",
        ),
    ]
    return _table(("", ""), rows, ())


def _components(components: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            each["name"],
            each["kind"],
            str(each["files"]),
            bytes_text(each["bytes"]),
            span_text(each["recover_seconds"]),
            "-" if each["start_seconds"] is None else span_text(each["start_seconds"]),
            each["error"] or "",
        )
        for each in components
    ]
    return _table(("component", "kind", "files", "size", "recovered in", "started in", "error"), rows, (2, 3, 4, 5))


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    if not checks:
        return "<p>No checks are defined: it was recovered and started.</p>"
    rows = [
        (each["what"], each["expect"] or "", each["got"], each["came"], span_text(each["seconds"])) for each in checks
    ]
    return _table(("check", "expected", "got", "", "took"), rows, (4,))


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[int]) -> str:
    def cell(tag: str, place: int, value: Any) -> str:
        mark = " class=number" if place in numbers else ""
        return f"<{tag}{mark}>{escape(str(value))}</{tag}>"

    head = "".join(cell("th", place, each) for place, each in enumerate(titles))
    body = "".join(f"<tr>{''.join(cell('td', place, each) for place, each in enumerate(row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"

"""Files at a moment: a folder page by page, a search, one file, and what differs from another moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knowngood.core.sizes import bytes_text
from knowngood.doors.console.inside import MOST, PREVIEW, Place
from knowngood.doors.console.pages import packed, url

Document = Mapping[str, Any]
_HEX_BYTES = 1024


def _common(place: Place, found: Document) -> dict[str, Any]:
    here = f"/services/{place.service}"
    only = found["components"][0]["name"] if len(found["components"]) == 1 else ""
    return {
        "place": "home",
        "name": place.service,
        "here": here,
        "at": found["at"],
        "moment": found["moment"],
        "moment_text": found["moment_text"],
        "limits": found["limits"],
        "component": only,
        "many": len(found["all_components"]) > 1,
        "components": [
            {**each, "url": url(f"{here}/browse", at=found["at"], component=each["name"])}
            for each in found["components"]
        ],
        "pick": packed(only, place.path),
        "crumbs": _crumbs(place, found, only),
    }


def _crumbs(place: Place, found: Document, only: str) -> list[dict[str, str]]:
    parts = [each for each in place.path.split("/") if each]
    address = f"/services/{place.service}/browse"
    return [
        {
            "name": name,
            "url": url(address, at=found["at"], component=only, path="/".join(parts[: number + 1])),
        }
        for number, name in enumerate(parts)
    ]


def browse_values(place: Place, found: Document) -> dict[str, Any]:
    """What the page of a folder is made of."""
    common = _common(place, found)
    more = {"at": found["at"], "component": common["component"], "path": place.path, "after": found["more"]}
    return {
        **common,
        "find": "",
        "entries": [_row(each, place, found) for each in found["entries"]],
        "more": url(f"{common['here']}/browse", **more) if found["more"] else "",
        "note": "",
    }


def search_values(place: Place, found: Document, pattern: str) -> dict[str, Any]:
    """What the results of a search are made of."""
    note = f"The first {MOST} are shown; search for more of the name to see others." if found["more"] else ""
    return {
        **_common(place, found),
        "find": pattern,
        "entries": [_row(each, place, found, whole=True) for each in found["entries"]],
        "more": "",
        "note": note,
    }


def _row(entry: Document, place: Place, found: Document, *, whole: bool = False) -> dict[str, Any]:
    target = "browse" if entry["type"] == "directory" else "file"
    address = url(
        f"/services/{place.service}/{target}", at=found["at"], component=entry["component"], path=entry["path"]
    )
    name = entry["path"] if whole else entry["path"].rpartition("/")[2]
    return {
        **entry,
        "name": name or entry["component"],
        "url": address,
        "value": packed(entry["component"], entry["path"]),
        "size_text": bytes_text(entry["size"]) if entry["type"] == "file" else "",
        "sign": {"directory": "▸", "file": ""}.get(entry["type"], "·"),
    }


def file_values(place: Place, found: Document) -> dict[str, Any]:
    """What the page of one file is made of."""
    common, entry, data = _common(place, found), found["entry"], found["data"]
    query = {"at": found["at"], "component": entry["component"], "path": entry["path"]}
    text = _text(data)
    return {
        **common,
        "entry": entry,
        "title": entry["path"].rpartition("/")[2] or entry["component"],
        "download": url(f"{common['here']}/download", **query),
        "recover": url(f"{common['here']}/recover", **query),
        "history": url(f"{common['here']}/history", component=entry["component"], path=entry["path"]),
        "text": text,
        "hex": "" if text is not None else _hex(data[:_HEX_BYTES]),
        "cut": len(data) > PREVIEW,
        "shown": bytes_text(min(len(data), PREVIEW)),
    }


def _text(data: bytes) -> str | None:
    """The beginning of a file as text; None where it is none."""
    if b"\0" in data:
        return None
    try:
        return data[:PREVIEW].decode("utf-8", "strict" if len(data) <= PREVIEW else "ignore")
    except UnicodeDecodeError:
        return None


def _hex(data: bytes) -> str:
    lines = (data[at : at + 16] for at in range(0, len(data), 16))
    return "\n".join(
        f"{number * 16:06x}  {line.hex(' '):<47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in line)}"
        for number, line in enumerate(lines)
    )


def history_values(place: Place, found: Document) -> dict[str, Any]:
    """What the page of the versions of a path is made of, newest first."""
    here = f"/services/{place.service}"
    versions = []
    for each in reversed(found["versions"]):
        entry = each["entry"]
        query = {"at": each["point"] or each["moment"], "component": entry and entry["component"], "path": place.path}
        target = "browse" if entry and entry["type"] == "directory" else "file"
        versions.append({**each, "url": url(f"{here}/{target}", **query) if entry else ""})
    return {
        "place": "home",
        "name": place.service,
        "here": here,
        "path": place.path,
        "versions": versions,
        "unknown": found["unknown"],
    }


def compare_values(place: Place, found: Document, other: str) -> dict[str, Any]:
    """What the page of differences is made of."""
    changes = []
    for each in found["changes"]:
        shown = each["after"] or each["before"]
        at = found["new" if each["after"] else "old"]["at"]
        query = {"at": at, "component": shown["component"], "path": shown["path"]}
        folder = shown["type"] == "directory"
        changes.append(
            {
                "what": each["what"],
                "sign": {"added": "+", "removed": "−", "content": "≠", "attributes": "~"}[each["what"]],
                "component": shown["component"],
                "path": shown["path"],
                "url": url(f"/services/{place.service}/{'browse' if folder else 'file'}", **query),
                "sizes": _sizes(each),
            }
        )
    return {
        **_common(place, found["new"]),
        "changes": changes,
        "more": found["more"],
        "most": MOST,
        "other": other,
        "old_text": found["old"]["moment_text"],
    }


def _sizes(change: Document) -> str:
    before, after = change["before"], change["after"]
    shown = after or before
    if shown["type"] != "file":
        return ""
    if change["what"] == "content":
        return f"{bytes_text(before['size'])} → {bytes_text(after['size'])}"
    return bytes_text(shown["size"])

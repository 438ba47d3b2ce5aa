"""Reports of drills: made, signed, written, read again and verified.

The signature says that the report was not changed since the home's key signed it; the hash that the vault keeps with
the judgement says that it is the very report on which the point was judged. Neither says that the home was honest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from knowngood.control.drill_page import page
from knowngood.control.files import make_folder, read_bounded, write_durably
from knowngood.control.home import Home
from knowngood.control.values import name_problem
from knowngood.control.workshop import Workshop
from knowngood.core.errors import Damaged, KnowngoodError, NotFound, UsageError
from knowngood.core.ids import short
from knowngood.core.instants import SECOND, iso_text
from knowngood.core.model import Judgement, ServiceSpec
from knowngood.flow.choose import named_points
from knowngood.flow.drill import Drilled, drill, judge
from knowngood.flow.moment import Moment
from knowngood.flow.rig import Piece
from knowngood.flow.state import evidence_of_aims
from knowngood.seal.signing import SigningKey, is_signed

_LONGEST = 4 << 20


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A drill, its report, where that is, and what the vault was told."""

    drilled: Drilled
    report: dict[str, Any]
    path: str
    page: str
    judgement: Judgement | None


def rehearse(shop: Workshop, service: ServiceSpec, moment: Moment) -> Rehearsed:
    """Carry out a drill, write its signed report, then mark the point."""
    home, parts = shop.home, shop.parts()
    named_points(parts)
    parts.private()  # raises Locked, before anything is begun
    drilled = drill(moment, service, parts, registry=home.sandboxes, scripts=home.path)
    report = report_of(drilled, parts.host)
    path, digest = _write(home, report, drilled)
    with home.lock("knowngood drill"):
        judgement = judge(drilled, digest, parts)
    return Rehearsed(drilled, report, path, path.removesuffix(".json") + ".html", judgement)


def report_of(drilled: Drilled, host: str) -> dict[str, Any]:
    """A drill as its report says it (docs/json.md)."""
    policy, point = drilled.service.policy, drilled.point
    level = evidence_of_aims(drilled.moment)
    return {
        "service": drilled.service.name,
        "host": host,
        "point": drilled.moment.point.id.hex(),
        "exact": point is not None,
        "moment": iso_text(level.at_ns),
        "level": level.level,
        "outcome": drilled.outcome,
        "reasons": drilled.reasons,
        "started": iso_text(drilled.started_ns),
        "finished": iso_text(drilled.finished_ns),
        "isolated": drilled.isolation.network,
        "sockets_hidden": drilled.isolation.sockets,
        "seconds": round(drilled.seconds, 3),
        "rto": policy.rto or None,
        "rto_kept": drilled.rto_kept,
        "components": [_piece(each) for each in drilled.pieces],
        "checks": [
            {
                "what": each.check.what,
                "expect": each.check.expect or None,
                "came": each.came,
                "got": each.got,
                "seconds": round(each.seconds, 3),
            }
            for each in drilled.answers
        ],
    }


def _piece(each: Piece) -> dict[str, Any]:
    recovered = each.recovered
    return {
        "name": each.component.name,
        "kind": each.component.kind,
        "files": recovered.files if recovered else 0,
        "bytes": recovered.bytes if recovered else 0,
        "problems": recovered.problem_count if recovered else 0,
        "recover_seconds": round(each.recover_seconds, 3),
        "start_seconds": None if each.start_seconds is None else round(each.start_seconds, 3),
        "error": each.error.message if each.error else None,
    }


# ----------------------------------------------------------------------------------------------------------- writing


def _canonical(report: dict[str, Any]) -> bytes:
    return json.dumps(report, sort_keys=True, separators=(",", ":")).encode()


def _write(home: Home, report: dict[str, Any], drilled: Drilled) -> tuple[str, bytes]:
    """The report and its page, durable; its path and hash."""
    key, message = _key(home), _canonical(report)
    signed = {
        "report": report,
        "signature": {"algorithm": "ed25519", "key": key.public.hex(), "signature": key.sign(message).hex()},
    }
    folder = os.path.join(home.drills, drilled.service.name)
    make_folder(home.drills)
    make_folder(folder)
    stamp = iso_text(drilled.started_ns).replace("-", "").replace(":", "")[:15]
    path = os.path.join(folder, f"{stamp}-{drilled.started_ns % SECOND:09d}-{short(drilled.moment.point.id)}.json")
    write_durably(path, json.dumps(signed, indent=2).encode() + b"\n")
    write_durably(path.removesuffix(".json") + ".html", page(report, key.public.hex()).encode())
    return path, blake3(message).digest()


def _key(home: Home) -> SigningKey:
    """The home's key; made when there is none."""
    try:
        return SigningKey(read_bounded(home.signing_key, 64))
    except NotFound:
        key = SigningKey.generate()
        home.write_private(home.signing_key, key.private)
        return key
    except ValueError:
        raise Damaged(f"{home.signing_key} is no key", hint="move it away; a new one is made") from None


# ----------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Kept:
    """A report as it lies in the home. `signed`: not changed since this home signed it. `judged`: the vault knows this
    very report, None where the vault was told nothing or it is not known any more."""

    path: str
    report: dict[str, Any]
    signed: bool
    judged: bool | None


def kept_reports(home: Home, judgements: dict[bytes, Judgement], service: str | None = None) -> Iterator[Kept]:
    """The reports of a home, newest first; what cannot be read is left out. Raises UsageError."""
    if service and (problem := name_problem(service)):
        raise UsageError(problem)
    ours = b""
    with suppress(KnowngoodError):
        ours = _key(home).public if os.path.exists(home.signing_key) else b""
    names = [service] if service else _listed(home.drills)
    paths = [
        os.path.join(home.drills, name, file) for name in names for file in _listed(os.path.join(home.drills, name))
    ]
    for path in sorted((each for each in paths if each.endswith(".json")), key=os.path.basename, reverse=True):
        with suppress(KnowngoodError, ValueError, KeyError, TypeError):
            yield _read(path, ours, judgements)


def _read(path: str, ours: bytes, judgements: dict[bytes, Judgement]) -> Kept:
    document = json.loads(read_bounded(path, _LONGEST))
    report, signature = document["report"], document["signature"]
    message = _canonical(report)
    signed = bytes.fromhex(signature["key"]) == ours and is_signed(ours, bytes.fromhex(signature["signature"]), message)
    judgement = judgements.get(bytes.fromhex(report["point"]))
    known = judgement is not None and judgement.report == blake3(message).digest()
    return Kept(path, report, signed, True if known else None)


def _listed(folder: str) -> list[str]:
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []

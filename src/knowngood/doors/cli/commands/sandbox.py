"""`knowngood recover --sandbox`: the service beside, on throw-away servers, until somebody has seen enough."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from knowngood.core.model import ServiceSpec
from knowngood.core.sizes import span_text
from knowngood.doors.cli.moments import asked_text, point_shape
from knowngood.doors.cli.session import Session
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of
from knowngood.flow.private import private_folder
from knowngood.flow.rig import Rig, bring_back, bytes_of, start
from knowngood.linux.apart import apart

_LOOK = 0.5


def run_sandbox(session: Session, moment: Moment, service: ServiceSpec, parts: Parts, seconds: float) -> None:
    """Recover, start, say where, and wait: until Ctrl-C, or for so many seconds. Then nothing of it is left."""
    began = time.monotonic()
    with private_folder(session.home.sandboxes, bytes_of(moment)) as folder:
        rig = Rig()
        try:
            with session.watch(parts.progress):
                rig = bring_back(moment, folder, parts, service)
                apart(lambda: start(rig, parts), rig.stop, folder)
            rig.require()
            with suppress(KeyboardInterrupt):  # at any time once it runs: whoever was told of it may end it at once
                _announce(session, moment, rig, parts, began)
                _wait(seconds)
        finally:
            rig.stop()
    session.out.note("the sandbox is gone")


def _announce(session: Session, moment: Moment, rig: Rig, parts: Parts, began: float) -> None:
    out = session.out
    fields: dict[str, Any] = {
        "point": point_shape(moment.point, checkpoints_of(moment.point, parts)),
        "seconds": round(time.monotonic() - began, 3),
        "components": [
            {
                "name": each.component.name,
                "kind": each.component.kind,
                "address": [f"{name}={value}" for name, value in each.address.items()],
            }
            for each in rig.pieces
        ],
    }

    def tell() -> None:
        out.note(f"recovered {asked_text(moment)} in {span_text(fields['seconds'])}; production is not touched")
        rows = [
            [each.component.name, each.component.kind, name, value]
            for each in rig.pieces
            for name, value in each.address.items()
        ]
        out.table(["component", "kind", "", "where"], rows)
        out.note("all of it goes with Ctrl-C")

    out.result("recover sandbox", fields, tell)
    out.close()  # whoever waits for it learns of it now


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds if seconds else None
    while end is None or time.monotonic() < end:
        time.sleep(_LOOK if end is None else max(0.0, min(_LOOK, end - time.monotonic())))

"""`knowngood recover --sandbox`: the service beside, on throw-away servers, until somebody has seen enough."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from knowngood.core.model import ServiceSpec
from knowngood.core.sizes import span_text
from knowngood.doors.cli.moments import asked_text, point_shape
from knowngood.doors.cli.session import Session
from knowngood.flow.checks import Answered, run_checks
from knowngood.flow.moment import Moment
from knowngood.flow.parts import Parts
from knowngood.flow.points import checkpoints_of, definition_of
from knowngood.flow.private import private_folder
from knowngood.flow.rig import Rig, bring_back, bytes_of, start
from knowngood.linux.apart import apart

_LOOK = 0.5


def run_sandbox(session: Session, moment: Moment, here: ServiceSpec | None, parts: Parts, seconds: float) -> None:
    """Recover, start, check, say where, and wait: until Ctrl-C, or for so many seconds. Then nothing of it is left.

    `here` is how the service is defined on this machine. Checks that only the vault tells of are never run.
    """
    began, answers = time.monotonic(), list[Answered]()
    order = here or definition_of(moment.point) or ServiceSpec(name=moment.point.service, components=())
    with private_folder(session.home.sandboxes, bytes_of(moment)) as folder:
        rig = Rig()
        try:
            with session.watch(parts.progress):
                rig = bring_back(moment, folder, parts, order)

                def begin() -> None:
                    start(rig, parts)
                    if here is not None and not rig.errors:
                        answers.extend(run_checks(rig, here.checks, session.home.path, folder))

                apart(begin, rig.stop, folder)
            rig.require()
            with suppress(KeyboardInterrupt):  # at any time once it runs: whoever was told of it may end it at once
                _announce(session, moment, rig, parts, began, answers)
                _wait(seconds)
        finally:
            rig.stop()
    session.out.note("the sandbox is gone")


def _announce(session: Session, moment: Moment, rig: Rig, parts: Parts, began: float, answers: list[Answered]) -> None:
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
        "checks": [
            {"what": each.check.what, "came": each.came, "got": each.got, "seconds": round(each.seconds, 3)}
            for each in answers
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
        for each in answers:
            out.line(f"  {each.came}: {each.check.what}: {each.got}")
        out.note("all of it goes with Ctrl-C")

    out.result("recover sandbox", fields, tell)
    out.close()  # whoever waits for it learns of it now


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds if seconds else None
    while end is None or time.monotonic() < end:
        time.sleep(_LOOK if end is None else max(0.0, min(_LOOK, end - time.monotonic())))

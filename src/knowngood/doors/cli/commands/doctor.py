"""`knowngood doctor`: finds what is wrong and says the command that mends it."""

from __future__ import annotations

import typer

from knowngood.control.doctor import examine
from knowngood.core.errors import ExitStatus
from knowngood.doors.cli.opening import workshop
from knowngood.doors.cli.session import current

app = typer.Typer()


@app.command(help="Find what is wrong, and say the command that mends it.")
def doctor(context: typer.Context) -> int:
    """Examine."""
    session = current(context)
    advice = examine(workshop(session))
    findings = [{"grave": each.grave, "what": each.what, "fix": each.fix} for each in advice]

    def tell() -> None:
        for each in sorted(advice, key=lambda one: not one.grave):
            session.out.line(f"{'!' if each.grave else '-'} {each.what}")
            if each.fix:
                session.out.line(f"    {each.fix}")
        if not advice:
            session.out.note("all is well")

    session.out.result("doctor", {"findings": findings}, tell)
    return ExitStatus.FAILED if any(each.grave for each in advice) else ExitStatus.DONE

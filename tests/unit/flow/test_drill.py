"""A drill says of a point what it found out, and nothing that only this machine is to blame for."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowngood.core.errors import Damaged, KnowngoodError, Locked, NoSpace
from knowngood.core.model import Check, Hooks, Level, Policy, ServiceSpec
from knowngood.core.ports import PageSource, Recovered, RecoveryPlan
from knowngood.core.progress import Progress
from knowngood.flow.drill import Outcome, drill, judge
from knowngood.flow.moment import moment_of
from knowngood.flow.parts import Parts
from knowngood.flow.protect import protect
from knowngood.flow.together import Together
from knowngood.testing.vaults import SmallVault
from tests.unit.flow.notes import NotesKind, parts_of, service_of, small_vault


class Stubborn(NotesKind):
    """What recovering comes to can be chosen."""

    came: KnowngoodError | Recovered | None = None

    def materialize(self, plan: RecoveryPlan, pages: PageSource, progress: Progress) -> Recovered:
        """That."""
        if isinstance(self.came, KnowngoodError):
            raise self.came
        return self.came or super().materialize(plan, pages, progress)


@pytest.fixture
def kind() -> Stubborn:
    """With one place."""
    return Stubborn({"/srv/a": {b"text": b"a" * 50}})


@pytest.fixture
def vault() -> SmallVault:
    """An empty one."""
    return small_vault()


@pytest.fixture
def parts(vault: SmallVault, kind: Stubborn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Private folders are made below the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return parts_of(vault, kind)


@pytest.mark.parametrize(
    ("came", "outcome", "status"),
    [
        (None, Outcome.PROVEN, "proven"),
        (Damaged("a pack is damaged"), Outcome.SUSPECT, "suspect"),
        (NoSpace("the disk is full"), Outcome.UNPROVEN, "recoverable"),
        (Locked("no key"), Outcome.UNPROVEN, "recoverable"),
        (Recovered(problem_count=1), Outcome.UNPROVEN, "recoverable"),
    ],
)
def test_outcomes(
    came: KnowngoodError | Recovered | None,
    outcome: Outcome,
    status: str,
    kind: Stubborn,
    parts: Parts,
    tmp_path: Path,
) -> None:
    """What speaks against the point, and what does not."""
    service = service_of("a")
    point = protect(service, parts).point
    kind.came = came
    registry = str(tmp_path / "registry")
    drilled = drill(moment_of(point, parts), service, parts, registry=registry, scripts=str(tmp_path))
    assert drilled.outcome == outcome, drilled.reasons
    assert bool(drilled.reasons) == (outcome != Outcome.PROVEN)
    judge(drilled, b"r" * 32, parts)
    assert parts.catalog.points()[0].status == status
    assert list(Path(registry).iterdir()) == []


def test_what_is_promised_of_time(parts: Parts, tmp_path: Path) -> None:
    """Too slow is not suspect; a check of what the point does not have says nothing."""
    service = ServiceSpec(
        name="shop",
        components=service_of("a").components,
        policy=Policy(rto=1e-9),
        checks=(Check(component="later", ask="x"),),
    )
    point = protect(service_of("a"), parts).point
    drilled = drill(moment_of(point, parts), service, parts, registry=str(tmp_path / "r"), scripts=str(tmp_path))
    assert (drilled.outcome, drilled.rto_kept) == (Outcome.PROVEN, False)
    assert [each.came for each in drilled.answers] == ["left out"]


def test_what_was_brought_to_rest_goes_on(tmp_path: Path) -> None:
    """Also when making the point fails, or is interrupted while it begins."""
    log = tmp_path / "log"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho $KNOWNGOOD_HOOK >> {log}\n")
    hook.chmod(0o755)
    hooks = Hooks(before_point=(str(hook),), after_point=(str(hook),))
    service = ServiceSpec(name="shop", components=service_of("a").components, hooks=hooks)
    with pytest.raises(ZeroDivisionError), Together(service, Level.QUIESCED, {}, left_out=False):
        raise ZeroDivisionError
    assert log.read_text().split() == ["before-point", "after-point"]

    class Interrupted:
        component = service.components[0]

        def tick(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Together(service, Level.QUIESCED, {"a": Interrupted()}, left_out=False):  # type: ignore[dict-item]
        raise AssertionError
    assert log.read_text().split() == ["before-point", "after-point"] * 2

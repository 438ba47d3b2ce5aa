"""Other people's programs: whatever they do, we go on in time and nothing of theirs is left."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError
from knowngood.core.model import ComponentSpec, Hooks, ServiceSpec
from knowngood.flow.bounded import run_bounded
from knowngood.flow.hooks import require_hook, run_hook
from knowngood.linux.processes import working_in


def nobody_in(folder: Path) -> bool:
    """Killed processes take a moment to go."""
    end = time.monotonic() + 30
    while found := list(working_in(str(folder))):
        if time.monotonic() > end:
            return not found
    return True


def python(code: str) -> list[str]:
    """A program."""
    return [sys.executable, "-c", code]


def test_what_it_says_is_kept_short() -> None:
    """The last lines, however much there is."""
    ran = run_bounded(python("for n in range(100000): print('line', n)"), 60, {})
    assert (ran.failure, ran.said.splitlines()[-1]) == ("", "line 99999")
    assert len(ran.said) <= 4096


def test_how_it_failed() -> None:
    """In words, with what it said."""
    ran = run_bounded(python("print('no room'); raise SystemExit(3)"), 60, {})
    assert (ran.failure, ran.said) == ("it ended with status 3", "no room")
    assert "signal 9" in run_bounded(python("import os; os.kill(os.getpid(), 9)"), 60, {}).failure
    assert "cannot be run: no such file" in run_bounded(["/no/such/program"], 60, {}).failure


def test_one_that_hangs(tmp_path: Path) -> None:
    """Is killed with all that it started, though that holds its output open."""
    code = "import subprocess, time; subprocess.Popen(['sleep', '1000']); print('begun', flush=True); time.sleep(1000)"
    began = time.monotonic()
    ran = run_bounded(python(code), 2, {}, str(tmp_path))
    assert "took longer than 2 s" in ran.failure
    assert time.monotonic() - began < 60
    assert nobody_in(tmp_path)


def test_one_that_leaves_something_running(tmp_path: Path) -> None:
    """Nobody waits for that, and it is ended."""
    ran = run_bounded(
        python("import subprocess; subprocess.Popen(['sleep', '1000']); print('done')"), 60, {}, str(tmp_path)
    )
    assert (ran.failure, ran.said) == ("", "done")
    assert nobody_in(tmp_path)


def test_it_finds_little_of_our_environment() -> None:
    """And what it is given."""
    os.environ["KNOWNGOOD_SECRET"] = "hidden"
    try:
        ran = run_bounded(python("import os; print(sorted(os.environ))"), 60, {"KNOWNGOOD_SERVICE": "shop"})
    finally:
        del os.environ["KNOWNGOOD_SECRET"]
    assert "KNOWNGOOD_SERVICE" in ran.said
    assert "SECRET" not in ran.said


def test_hooks() -> None:
    """None is fine; one that fails says which it was."""
    component = ComponentSpec(name="a", kind="files", path="/a")
    hooks = Hooks(before_point=tuple(python("import os; print(os.environ['KNOWNGOOD_HOOK']); raise SystemExit(1)")))
    service = ServiceSpec(name="shop", components=(component,), hooks=hooks)
    assert run_hook(service, "after_point") == ""
    assert run_hook(service, "before_point") == ("the hook before-point failed: it ended with status 1 (before-point)")
    with pytest.raises(KnowngoodError, match="before-point failed"):
        require_hook(service, "before_point")

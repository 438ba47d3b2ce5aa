"""Whoever kills a recovery, at whatever step, and whoever runs it: no file is half of one and half of another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _run(check: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.unit.kinds_files_recovery.child", check, str(folder)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "check", ["kill-in-place", "kill-new", pytest.param("kill-new-with-helpers", marks=pytest.mark.slow)]
)
def test_killed_at_any_step(check: str, folder: Path) -> None:
    """The next run brings everything to its end, and removes what the killed one left."""
    assert _run(check, folder) == ""


@pytest.mark.root
def test_another_user_than_root() -> None:
    """Everything comes back but owners and devices; these are told once, and no program changes its user."""
    home = Path(tempfile.mkdtemp(prefix="knowngood-nobody-"))  # pytest's own folders are closed to others
    try:
        home.chmod(0o755)
        (home / "nobody's").mkdir()
        os.chown(home / "nobody's", 65534, 65534)
        assert _run("nobody", home) == ""
    finally:
        shutil.rmtree(home)

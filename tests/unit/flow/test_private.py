"""Private folders: room for what comes, nothing left, and what a killed run left is found."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.core.errors import NoSpace
from knowngood.flow.private import PREFIX, clear_leftovers, leftovers, private_folder
from knowngood.linux.processes import working_in


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Private folders are made below the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_it_comes_and_goes(tmp_path: Path) -> None:
    """With whatever is in it; while it is used, nobody takes it for left behind."""
    registry = str(tmp_path / "registry")
    with private_folder(registry, 1) as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o711
        os.makedirs(os.path.join(folder, "a", "b"))
        os.chmod(os.path.join(folder, "a"), 0o500)
        assert leftovers(registry) == []
        assert clear_leftovers(registry) == 0
    assert not os.path.exists(folder)
    assert os.listdir(registry) == []


def test_too_little_room(tmp_path: Path) -> None:
    """Is said before anything is written."""
    with pytest.raises(NoSpace), private_folder(str(tmp_path / "registry"), 1 << 60):
        raise AssertionError
    assert not list(tmp_path.glob(PREFIX + "*"))


def test_what_a_killed_run_left(tmp_path: Path) -> None:
    """Its folder and its server go with the next run."""
    code = (
        "import subprocess, sys, time\n"
        "from knowngood.flow.private import private_folder\n"
        "with private_folder(sys.argv[1], 1) as folder:\n"
        "    subprocess.Popen(['sleep', '1000'], cwd=folder, start_new_session=True)\n"
        "    print(folder, flush=True)\n"
        "    time.sleep(1000)\n"
    )
    registry = str(tmp_path / "registry")
    with subprocess.Popen([sys.executable, "-c", code, registry], stdout=subprocess.PIPE) as killed:
        assert killed.stdout
        folder = killed.stdout.readline().decode().strip()
        killed.send_signal(signal.SIGKILL)
    assert [each.folder for each in leftovers(registry)] == [folder]
    assert list(working_in(folder))
    with private_folder(registry, 1):
        assert not os.path.exists(folder)
    assert list(working_in(folder)) == []
    assert os.listdir(registry) == []


def test_an_entry_that_names_something_else(tmp_path: Path) -> None:
    """Nothing but what was made here is ever removed."""
    registry, precious = tmp_path / "registry", tmp_path / "precious"
    registry.mkdir()
    precious.mkdir()
    (registry / "bad").write_text(str(precious))
    link = tmp_path / (PREFIX + "link")
    link.symlink_to(precious)
    (registry / "link").write_text(str(link))
    assert clear_leftovers(str(registry)) == 2
    assert precious.is_dir()

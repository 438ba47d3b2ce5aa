"""Where a home is, what it holds, and that one verb at a time writes there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.control.forms import Config
from knowngood.control.home import Home, default_path
from knowngood.control.lock import started_by
from knowngood.core.errors import Busy, Exists, NotFound, UsageError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that was not created yet."""
    return Home.at(str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("environment", "root", "path"),
    [
        ({}, True, "/var/lib/knowngood"),
        ({"KNOWNGOOD_HOME": "/x/../y"}, True, "/y"),
        ({"KNOWNGOOD_HOME": "/y", "XDG_STATE_HOME": "/s"}, False, "/y"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, False, "/s/knowngood"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, False, "/h/.local/state/knowngood"),
        ({"HOME": "/h"}, False, "/h/.local/state/knowngood"),
        ({"XDG_STATE_HOME": "/s"}, True, "/var/lib/knowngood"),
    ],
)
def test_default_path(environment: dict[str, str], root: bool, path: str) -> None:
    """The variable, then what fits the user."""
    assert default_path(environment, root=root) == path


def test_nothing_is_created_by_looking(home: Home) -> None:
    """Reading commands leave no trace."""
    assert not home.exists()
    assert home.config() == Config()
    with pytest.raises(NotFound, match="no vault is named"):
        home.vault_path()
    assert not home.exists()


def test_created_for_the_owner_only(home: Home) -> None:
    """Every folder 0700, twice is once."""
    home.create()
    home.create()
    for folder in (home.path, home.services, home.keys, home.former):
        assert os.stat(folder).st_mode & 0o7777 == 0o700
    assert home.state(b"\x01\xab") == f"{home.path}/state/01ab"
    assert os.stat(home.state(b"\x01\xab")).st_mode & 0o7777 == 0o700


def test_world_writable_homes_are_refused(home: Home) -> None:
    """Others could change what root protects, and where it writes."""
    home.create()
    os.chmod(home.path, 0o777)
    with pytest.raises(UsageError, match="everybody can write") as caught, home.lock("x"):
        pass
    assert caught.value.hint == f"chmod 700 {home.path}"


def test_keys_are_private_and_never_overwritten_by_accident(home: Home) -> None:
    """0600, and Exists unless replacing was asked for."""
    home.write_private(home.writer_key, b"key")
    assert os.stat(home.writer_key).st_mode & 0o7777 == 0o600
    with pytest.raises(Exists):
        home.write_private(home.writer_key, b"other")
    home.write_private(home.writer_key, b"other", replace=True)
    assert Path(home.writer_key).read_bytes() == b"other"


def test_config_round_trip(home: Home) -> None:
    """What is written is read; what is wrong is said with its line."""
    home.write_config(Config(vault="/srv/väult: 1"))
    assert home.vault_path() == "/srv/väult: 1"
    assert os.stat(home.config_path).st_mode & 0o7777 == 0o600
    home.write_config(Config())
    assert home.config() == Config()
    Path(home.config_path).write_text("# ours\nvalt: /x\n")
    with pytest.raises(UsageError, match=re.escape("config.yaml, line 2: unknown key 'valt'")) as caught:
        home.config()
    assert caught.value.hint == "did you mean 'vault'?"


def test_lock_names_its_holder(home: Home) -> None:
    """Process, command and since when; afterwards it is free."""
    with home.lock("knowngood protect shop"):
        said = rf"'knowngood protect shop' \(process {os.getpid()}, since \d{{4}}-"
        with pytest.raises(Busy, match=said) as caught, home.lock("knowngood tidy"):
            pass
        assert str(os.getpid()) in caught.value.hint
    with home.lock("knowngood tidy"):
        pass
    assert Path(home.path, "lock").read_bytes() == b""


def test_lock_is_free_after_an_error(home: Home) -> None:
    """However the block ends."""
    with pytest.raises(RuntimeError), home.lock("a"):
        raise RuntimeError
    with home.lock("b"):
        pass


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff", b'{"pid":1,"command":"x","since_ns":1e99}'])
def test_lock_with_a_strange_note(home: Home, note: bytes) -> None:
    """The holder may not have written its note yet."""
    with home.lock("a"):
        Path(home.path, "lock").write_bytes(note)
        with pytest.raises(Busy, match="another command is at work"), home.lock("b"):
            pass


def test_lock_ends_with_its_process(home: Home) -> None:
    """Killed without any cleaning up."""
    holder = (
        "import sys; from knowngood.control.home import Home\n"
        "with Home.at(sys.argv[1]).lock('killed'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, home.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=f"'killed' .process {child.pid},"), home.lock("next"):
            pass
        child.kill()
    with home.lock("next"):
        pass


def test_lock_sweeps_what_a_power_cut_left(home: Home) -> None:
    """Only under the lock: nobody else is writing."""
    home.create()
    litter = Path(home.services, ".shop.yaml.00112233.new")
    litter.write_text("half")
    with home.lock("x"):
        assert not litter.exists()


def test_commands_wait_for_one_that_is_passing(home: Home) -> None:
    """And for no other; not for ever either."""
    with home.lock("knowngood up: tidy", passing=True):
        with patch("knowngood.control.home.PATIENCE", 0.1), pytest.raises(Busy), home.lock("knowngood protect shop"):
            pass
        with pytest.raises(Busy), home.lock("knowngood up: protect shop", passing=True):
            pass
    inside, out = threading.Event(), threading.Event()

    def pass_by() -> None:
        with home.lock("knowngood up: tidy", passing=True):
            inside.set()
            out.wait(20)

    thread = threading.Thread(target=pass_by)
    thread.start()
    assert inside.wait(20)
    with patch("time.sleep", lambda _: out.set()), home.lock("knowngood protect shop"):
        assert out.is_set()
    thread.join()


def test_one_keeper_in_a_home(home: Home) -> None:
    """It says who it is, and who started it; commands are not in its way."""
    with home.up("knowngood up"), home.lock("knowngood tidy"):
        with pytest.raises(Busy, match=r"since .*, started by \w+\)") as caught, home.up("knowngood up"):
            pass
        assert caught.value.hint.startswith("look with: knowngood status")


def test_who_started_it() -> None:
    """systemd, the one behind sudo, or the user."""
    assert started_by({"SYSTEMD_EXEC_PID": str(os.getpid()), "SUDO_USER": "eve"}) == "systemd"
    assert started_by({"SYSTEMD_EXEC_PID": "1", "SUDO_USER": "eve"}) == "eve"
    assert started_by({})

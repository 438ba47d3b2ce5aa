"""knowngood service and knowngood policy, as people and scripts use them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.control.home import Home
from knowngood.core.errors import ExitStatus
from tests.unit.cli.runner import Runner

SHOP = """\
# ours
service: shop
components:
  uploads: {kind: files, path: /srv/uploads} # theirs
"""


@pytest.fixture
def shop(knowngood: Runner, tmp_path: Path) -> Runner:
    """With one service, whose file has comments."""
    (tmp_path / "mine.yaml").write_text(SHOP)
    knowngood.ok("service", "apply", str(tmp_path / "mine.yaml"))
    return knowngood


def test_five_commands_to_a_service(knowngood: Runner, tmp_path: Path) -> None:
    """Add, look, change, remove, bring back."""
    (tmp_path / "uploads").mkdir()
    added = knowngood.ok("service", "add", "shop", "--files", str(tmp_path / "uploads"), "--exclude", "*.tmp")
    assert added.err == ""
    assert added.out.splitlines() == [
        f"service 'shop' created: {knowngood.home}/services/shop.yaml",
        f"  + uploads: files {tmp_path}/uploads (without *.tmp)",
        "  keeps any-moment 48h, hourly 7d, daily 30d, weekly 90d, monthly 1y",
        "next: knowngood protect shop",
    ]
    assert str(tmp_path / "uploads") in knowngood.ok("service", "list").out
    assert "without *.tmp" in knowngood.ok("service", "show", "shop").out
    removed = knowngood.ok("service", "remove", "shop")
    assert knowngood("service", "show", "shop").status == ExitStatus.NOT_FOUND
    again = removed.out.rsplit("knowngood ", 1)[1].split()
    knowngood.ok(*again)
    assert knowngood.ok("service", "show", "shop", "--json").json["service"]["components"][0]["exclude"] == ["*.tmp"]


def test_relative_paths(knowngood: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made absolute where the command runs; what does not exist is said."""
    monkeypatch.chdir(tmp_path)
    result = knowngood.ok("service", "add", "shop", "--files", "here", "--json").json
    assert [each["path"] for each in result["service"]["components"]] == [f"{tmp_path.resolve()}/here"]
    assert result["warnings"] == [f"{tmp_path.resolve()}/here does not exist now"]


def test_names_that_are_not_text(knowngood: Runner, tmp_path: Path) -> None:
    """Linux has them; they come through the file and out again."""
    path = os.fsencode(tmp_path) + b"/\xff\n"
    os.mkdir(path)
    text = os.fsdecode(path)
    assert "\\xff\\n" in knowngood.ok("service", "add", "odd", "--files", text).out
    component = knowngood.ok("service", "show", "odd", "--json").json["service"]["components"][0]
    assert os.fsencode(component["path"]) == path
    assert component["name"] == "root"


def test_dry_run_changes_nothing(shop: Runner) -> None:
    """Nor does it need a home, or the lock."""
    before = sorted((path, path.stat().st_mtime_ns) for path in shop.home.rglob("*"))
    for words in (
        ("service", "add", "shop", "--files", "/x"),
        ("service", "add", "new", "--files", "/x"),
        ("service", "remove", "shop"),
        ("policy", "set", "shop", "hourly=1d"),
    ):
        with Home.at(str(shop.home)).lock("other"):
            result = shop.ok(*words, "--dry-run")
        assert "would be" in result.out
    assert sorted(path for path, _ in before) == sorted(shop.home.rglob("*"))
    assert (shop.home / "services" / "shop.yaml").read_text() == SHOP
    nowhere = Runner(shop.home / "nowhere")
    nowhere.ok("service", "add", "x", "--files", "/x", "--dry-run")
    assert not nowhere.home.exists()


def test_what_fails_makes_no_home(knowngood: Runner) -> None:
    """A typing error leaves nothing behind."""
    assert knowngood("service", "remove", "shop").status == ExitStatus.NOT_FOUND
    assert knowngood("policy", "set", "shop", "hourly=1d").status == ExitStatus.NOT_FOUND
    assert not knowngood.home.exists()


def test_apply(shop: Runner, tmp_path: Path) -> None:
    """The text stays as it was written; TOML becomes YAML; the same again is nothing to do."""
    stored = shop.home / "services" / "shop.yaml"
    assert stored.read_text() == SHOP
    assert "is already so" in shop.ok("service", "apply", str(stored)).out
    (tmp_path / "shop.toml").write_text('service = "shop"\n[components.x]\nkind = "files"\npath = "/x"\n')
    changes = shop.ok("service", "apply", str(tmp_path / "shop.toml"), "--json").json["changes"]
    assert [(each["item"], each["before"], each["after"]) for each in changes] == [
        ("components.uploads.kind", "files", None),
        ("components.uploads.path", "/srv/uploads", None),
        ("components.x.kind", None, "files"),
        ("components.x.path", None, "/x"),
    ]


def test_apply_from_standard_input(knowngood: Runner) -> None:
    """As the end of a pipe."""
    program = [sys.executable, "-m", "knowngood", "--home", str(knowngood.home), "service", "apply", "-"]
    done = subprocess.run(program, input=SHOP.encode(), check=True, capture_output=True)
    assert b"service 'shop' created" in done.stdout
    wrong = subprocess.run(program, input=SHOP.replace("path", "pth").encode(), check=False, capture_output=True)
    assert wrong.returncode == ExitStatus.USAGE
    assert b"standard input, line 4: unknown key 'pth'\nnext: did you mean 'path'?" in wrong.stderr


def test_comments_survive_commands(shop: Runner) -> None:
    """A file belongs to whoever wrote it."""
    shop.ok("service", "add", "shop", "--files", "/srv/more")
    shop.ok("policy", "set", "shop", "hourly=14d")
    text = (shop.home / "services" / "shop.yaml").read_text()
    assert text.startswith(SHOP)
    assert "hourly: 14d" in text


def test_remove_components(shop: Runner) -> None:
    """One of two; not one that is not there; not all."""
    shop.ok("service", "add", "shop", "--files", "/srv/more", "--files", "/srv/third")
    shop.ok("service", "remove", "shop", "--component", "more")
    typo = shop("service", "remove", "shop", "--component", "thrid")
    assert (typo.status, "did you mean 'third'?" in typo.err) == (ExitStatus.NOT_FOUND, True)
    everything = shop("service", "remove", "shop", "--component", "uploads", "--component", "third")
    assert everything.status == ExitStatus.USAGE
    assert "next: knowngood service remove shop" in everything.err


def test_list_shows_broken_files(shop: Runner) -> None:
    """As a warning, and as data."""
    (shop.home / "services" / "bad.yaml").write_text("service: bad\n")
    result = shop.ok("service", "list")
    assert "shop" in result.out
    assert "warning: service 'bad' cannot be read" in result.err
    (broken,) = shop.ok("service", "list", "--json").json["broken"]
    assert (broken["name"], broken["hint"].startswith("add 'components")) == ("bad", True)


def test_empty_list(knowngood: Runner) -> None:
    """What to do next; with --quiet and --json nothing."""
    assert "knowngood service add NAME --files PATH" in knowngood.ok("service", "list").out
    assert knowngood.ok("service", "list", "--quiet").out == ""
    assert knowngood.ok("service", "list", "--json").json["services"] == []


def test_busy_home(shop: Runner) -> None:
    """Who is at work, as a status and as words."""
    with Home.at(str(shop.home)).lock("knowngood tidy"):
        result = shop("service", "add", "shop", "--files", "/x")
    assert result.status == ExitStatus.BUSY
    assert "'knowngood tidy' (process " in result.err


# ------------------------------------------------------------------------------------------------------------ policy


def test_policy_show_and_set(shop: Runner) -> None:
    """In the words of the file; seconds for programs."""
    assert shop.ok("policy", "show", "shop", "--json").json["policy"]["keep"]["hourly"] == 7 * 86400
    changed = shop.ok("policy", "set", "shop", "hourly=3d", "keep.yearly=10y", "undo=0")
    assert "  ~ policy.keep.hourly: 7d → 3d" in changed.out
    assert "warning: 'hourly' becomes shorter: 7d → 3d" in changed.err
    shown = shop.ok("policy", "show", "shop").out
    assert "3d" in shown
    assert "10y" in shown


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hurly=1d", "did you mean 'hourly'?"),
        ("size=1d", "it has: any-moment, hourly"),
        ("rpo=0.5s", "write 1s or more, or rpo=0"),
        ("hourly", "write settings as hourly=14d"),
        ("hourly=soon", "write a span"),
        ("hourly=", "write a span"),
        ("hourly=-1d", "write a span"),
        ("hourly=500y", "is longer than 200 years"),
    ],
)
def test_policy_words(word: str, said: str, shop: Runner) -> None:
    """Each mistake has its fix."""
    result = shop("policy", "set", "shop", word)
    assert result.status == ExitStatus.USAGE
    assert said in result.err


def test_simulate(shop: Runner) -> None:
    """Of a service, of the usual policy, and of what might be."""
    shop.ok("policy", "set", "shop", "monthly=2y")
    seen = shop.ok("policy", "simulate", "shop", "--every", "6h", "--days", "60", "--json").json
    assert (seen["kept"] + seen["gone"], len(seen["points"]), seen["days"]) == (240, seen["kept"], 60)
    assert {each["rung"]: each["points"] for each in seen["rungs"]}["any-moment"] == 8
    assert seen["policy"]["keep"]["monthly"] == 2 * 365 * 86400
    tried = shop.ok("policy", "simulate", "--every", "6h", "--days", "60", "--set", "any-moment=0", "--json").json
    assert {each["rung"]: each["points"] for each in tried["rungs"]}["any-moment"] == 0
    assert tried["points"][-1]["until"] is None
    human = shop.ok("policy", "simulate", "--every", "1d", "--days", "5", "--points").out
    assert "5 points of 5 are left in 5 d" in human
    assert "newest" in human


def test_simulate_is_bounded(knowngood: Runner) -> None:
    """A million points are enough."""
    for every, said in (("1s", "more than 1000000 points"), ("0s", "--every must be longer")):
        result = knowngood("policy", "simulate", "--every", every)
        assert (result.status, said in result.err) == (ExitStatus.USAGE, True)

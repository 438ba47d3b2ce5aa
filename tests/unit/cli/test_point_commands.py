"""What the commands that make points, look into them and recover say to people, and how they end."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.core.instants import SECOND, when_text
from knowngood.testing.clock import DAY, FakeClock
from tests.user import PROGRAM, User

SHORT = r"[0-9a-f]{8}"
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a file."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_bytes(b"first" * 1000)
    return folder


@pytest.fixture
def user(tmp_path: Path, data: Path) -> User:
    """With a service and no point yet."""
    user = User(tmp_path)
    user.begins("shop", data)
    return user


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    """A quarter past noon, by the clock on the wall."""
    with FakeClock(1_790_000_000 * SECOND) as clock:
        yield clock


# ------------------------------------------------------------------------------------------------------------ protect


def test_protect(user: User) -> None:
    """A line; none with --quiet."""
    told = user.does("protect", "shop").out
    assert re.fullmatch(rf"point {SHORT} of shop, {MOMENT}: 1 file, 4.9 KiB, [\d.]+ KiB new in the vault, .* s\n", told)
    assert user.does("protect", "shop", "--quiet").out == ""


@pytest.mark.parametrize(("name", "hint"), [("shp", "did you mean 'shop'?"), ("other", "services: shop")])
def test_protect_what_is_no_service(name: str, hint: str, user: User) -> None:
    """The name that may have been meant, or those that there are."""
    assert user.does("protect", name, status=4).next == hint


def test_protect_before_anything(tmp_path: Path) -> None:
    """Each error leads one step further."""
    user = User(tmp_path)
    assert user.does("protect", "shop", status=4).next == "knowngood service add shop --files PATH"
    user.does("service", "add", "shop", "--files", tmp_path)
    assert user.does("protect", "shop", status=4).next.startswith("knowngood init")


def test_protect_tells_the_first_ten_problems(user: User, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And how many more there are, and where to read them."""
    from knowngood.kinds.files.capture.scan import Scan
    from knowngood.kinds.files.problems import Problems

    run = Scan.run

    def failing(self: Scan):
        problems: Problems = self._problems
        for number in range(12):
            problems.add(b"\xff%d" % number, "permission denied")
        return run(self)

    monkeypatch.setattr(Scan, "run", failing)
    answer = user.does("protect", "shop", status=3)
    lines = answer.err.splitlines()
    assert lines[0] == "warning: 12 things could not be read as it should; the rest is protected"
    assert lines[1] == "warning: data: \\xff0: permission denied"
    assert lines[-1] == "warning: and 2 more; see: knowngood protect --json"
    assert len(lines) == 12
    quiet = user.does("protect", "shop", "--quiet", status=3)
    assert quiet.out == ""


# ------------------------------------------------------------------------------------------------------------- points


def test_points(user: User) -> None:
    """A table; a sentence when there is none."""
    assert user.does("points", "shop").out == "'shop' has no point; make one: knowngood protect shop\n"
    assert user.does("points", "shop", "--expired").out == "'shop' has no hidden point\n"
    user.protects("shop", "--name", "before the update")
    head, row = user.does("points", "shop").out.splitlines()
    assert head.split() == ["point", "moment", "level", "status", "size", "new", "name"]
    assert re.fullmatch(rf"{SHORT}  {MOMENT}  L0     recoverable  4.9 KiB  +[\d.]+ KiB  before the update", row)
    assert user.does("points", "shp", status=4).next == "did you mean 'shop'?"


def test_expire_and_undo(user: User) -> None:
    """What was done, and how to take it back."""
    point = user.protects()["id"]
    would = user.does("expire", "shop", point, "--dry-run").out
    assert re.fullmatch(rf"point {SHORT} of {MOMENT} would be hidden\n", would)
    first, second = user.does("expire", "shop", point[:8], point[:10]).out.splitlines()
    assert first.endswith("is hidden")
    assert second == f"for 7 d it can be brought back: knowngood undo shop {point[:8]}"
    assert "until " in user.does("points", "shop", "--expired").out
    assert user.does("undo", "shop", point[:8]).out == f"point {point[:8]} is back\n"
    assert "knowngood points shop --expired" in user.does("undo", "shop", point[:8], status=4).next


def test_tidy(user: User, clock: FakeClock) -> None:
    """The plan says what each point is kept as, and until when."""
    assert user.does("tidy").out.splitlines()[0] == "0 points hidden"
    user.protects()
    clock.move(3 * 3600)
    user.protects()
    plan = user.does("tidy", "--dry-run").out.splitlines()
    assert plan[0] == "shop"
    assert plan[1].split() == ["point", "moment", "kept", "as", "until"]
    assert "newest, any-moment, hourly, daily" in plan[2]
    user.does("policy", "set", "shop", "any-moment=1h", "hourly=0", "daily=0", "weekly=0", "monthly=0")
    assert "would be hidden" in user.does("tidy", "--dry-run").out
    assert user.does("tidy").out.splitlines()[0] == "1 point hidden"
    assert user.does("tidy", "--quiet").out == ""


# ------------------------------------------------------------------------------------------------------------ moments


def test_moments(user: User, data: Path, clock: FakeClock) -> None:
    """All the words for a moment that people use, for every command that takes one."""
    made = []
    for number in range(3):
        (data / "file").write_text(str(number))
        made.append(user.protects("shop", "--name", f"n{number}"))
        clock.move(DAY if number == 0 else 60)

    def at(words: str) -> str:
        return user.does("cat", "shop", "file", "--at", words).out

    assert [at(words) for words in ("latest", "LATEST", "now", " latest ")] == ["2"] * 4
    assert [at(words) for words in ("-30s", "-90s", "-1h30m", "-90m")] == ["2", "1", "0", "0"]
    assert [at(words) for words in ("n0", made[1]["id"][:8], made[2]["id"].upper())] == ["0", "1", "2"]
    assert [at(each["moment"]) for each in made] == ["0", "1", "2"]
    assert at(when_text(clock.now_ns)) == "2"
    assert at("23 hours ago") == "0"
    assert at("2 minutes ago") == "1"
    assert at(f"@{clock.now_ns // SECOND}") == "2"


@pytest.mark.parametrize(
    ("words", "status", "hint"),
    [
        ("whenever", 2, "write a moment such as"),
        ("", 2, "write a moment such as"),
        ("-90 parsecs", 2, "write a span such as 90s"),
        ("2026-13-01", 2, "write a moment such as"),
        ("1999-01-01", 4, "the oldest is of"),
        ("abcdef", 4, "knowngood points"),
        ("123456", 2, "write a moment such as"),
        ("-10y", 4, "the oldest is of"),
    ],
)
def test_moments_that_are_none(words: str, status: int, hint: str, user: User) -> None:
    """What is wrong, and examples."""
    user.protects()
    assert hint in user.does("ls", "shop", "--at", words, status=status).next


def test_a_name_that_looks_like_an_id(user: User, data: Path) -> None:
    """Names count first."""
    user.protects("shop", "--name", "abcdef")
    (data / "file").write_text("second")
    user.protects()
    assert user.does("cat", "shop", "file", "--at", "abcdef").raw == b"first" * 1000


# ------------------------------------------------------------------------------------------------------------ looking


def test_ls_as_people_read_it(user: User, data: Path) -> None:
    """As `ls -l` does, with numbers for owners; components are named where there are several."""
    (data / "sub").mkdir()
    (data / "sub" / "link").symlink_to("../file")
    (data / "file").chmod(0o640)
    other = data.with_name("other")
    other.mkdir()
    (other / "x").touch()
    user.does("service", "add", "shop", "--files", other)
    user.protects()
    lines = user.does("ls", "shop", "-r").out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == [
        "data:file",
        "data:sub/",
        "data:sub/link -> ../file",
        "other:x",
    ]
    assert re.fullmatch(rf"-rw-r-----  +\d+ +\d+ +5000 {MOMENT}  data:file", lines[0].replace("-----", "-----  ", 1))
    assert user.does("ls", "shop", "-c", "other").out.rpartition("  ")[2] == "x\n"
    assert user.does("find", "shop", "x").out.rpartition("  ")[2] == "other:x\n"


def test_diff_as_people_read_it(user: User, data: Path) -> None:
    """A sign, the path, the size; the points are named unless --quiet."""
    (data / "gone").write_text("x" * 10)
    user.protects()
    (data / "gone").unlink()
    (data / "file").write_text("changed")
    (data / "new").touch()
    user.protects()
    lines = user.does("diff", "shop").out.splitlines()
    assert re.fullmatch(rf"point {SHORT} of {MOMENT} → point {SHORT} of {MOMENT}", lines[0])
    assert lines[1:] == ["a .  (0 B)", "M file  (4.9 KiB → 7 B)", "- gone  (10 B)", "+ new  (0 B)"]


def test_history_as_people_read_it(user: User, data: Path) -> None:
    """A table."""
    user.protects()
    (data / "file").unlink()
    user.protects()
    head, first, second = user.does("history", "shop", "file").out.splitlines()
    assert head.split() == ["moment", "what", "size", "modified", "in"]
    assert re.fullmatch(rf"{MOMENT}  created  4.9 KiB  {MOMENT}  point {SHORT}", first)
    assert re.fullmatch(rf"{MOMENT}  deleted           not there            point {SHORT}", second)
    assert "knowngood find shop PATTERN" in user.does("history", "shop", "nothing", status=4).next


def test_cat_into_a_pipe_that_closes(user: User, data: Path) -> None:
    """Whoever reads the beginning only ends it without a word; a full disk is an error."""
    (data / "large").write_bytes(bytes(8 << 20))
    user.protects()
    words = [PROGRAM, "--home", user.home, "cat", "shop", "large"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(10) == bytes(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, check=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 8
    assert b"error: cannot write the answer: No space left on device" in done.stderr


# --------------------------------------------------------------------------------------------------------- recovering


def test_recover(user: User, data: Path, tmp_path: Path) -> None:
    """In place: the plan and what was done. Into a new folder: what was done. Nothing with --quiet."""
    user.protects()
    (data / "file").write_text("bad")
    (data / "new").touch()
    plan, done = user.does("recover", "shop", "--delete").out.rsplit("recovered", 1)
    lines = plan.splitlines()
    assert re.fullmatch(rf"plan: point {SHORT} of {MOMENT}", lines[0])
    assert lines[1] == f"  data → {data}"
    assert re.fullmatch(r"    create 0, rewrite 1, attributes only \d, delete 1, leave \d; write up to .*", lines[2])
    assert {"      rewrite file", "      delete new"} <= set(lines)
    assert re.fullmatch(rf" point {SHORT} of {MOMENT}: 1 file, 4.9 KiB written, 1 deleted, .* s\n", done)
    told = user.does("recover", "shop", "--to", tmp_path / "out").out
    assert told.startswith("recovered point ")
    (data / "file").write_text("bad")
    assert user.does("recover", "shop", "--quiet").out == ""
    assert (data / "file").read_bytes() == b"first" * 1000


def test_dry_run_is_an_answer(user: User, tmp_path: Path) -> None:
    """Not a note: --quiet leaves it."""
    user.protects()
    assert user.does("recover", "shop", "--dry-run", "--quiet").out.startswith("plan: point ")


def test_recover_asks(user: User, data: Path, tmp_path: Path) -> None:
    """Somebody at a terminal, when something is replaced; never for a new folder, with --yes, or a program."""
    user.protects()
    (data / "file").write_text("mine")
    answer = user.does("recover", "shop", typed="\n")
    assert answer.err.startswith("write this? [y/N] ")
    assert answer.out.endswith("nothing was written\n")
    assert (data / "file").read_text() == "mine"
    assert user.asks("recover", "shop", "--dry-run")["written_bytes"] == 0
    assert "write this?" not in user.does("recover", "shop", "--to", tmp_path / "out", typed="").err
    assert "write this?" not in user.does("recover", "shop", "--yes", "--dry-run", typed="").err
    user.does("recover", "shop", typed="yes\n")
    assert (data / "file").read_bytes() == b"first" * 1000
    (data / "file").write_text("mine")
    assert "write this?" not in user.does("recover", "shop", "--yes", typed="").err
    assert (data / "file").read_bytes() == b"first" * 1000


@pytest.mark.parametrize(
    ("words", "status", "hint"),
    [
        (("--to", "FILE"), 2, "name a folder with --to"),
        (("--component", "dta"), 4, "it has: data"),
        (("--path", "nothing"), 4, "knowngood ls"),
        (("--path", "/etc/passwd"), 4, "name paths below"),
        (("--path", "../x"), 2, "knowngood ls"),
        (("--path", "x", "--delete"), 2, "leave one of the two out"),
        (("--at", "1999-01-01"), 4, "knowngood points shop"),
    ],
)
def test_recover_badly_worded(words: tuple[str, ...], status: int, hint: str, user: User, data: Path) -> None:
    """The next step for each."""
    user.protects()
    named = [str(data / "file") if word == "FILE" else word for word in words]
    answer = user.does("recover", "shop", *named, status=status)
    assert hint in answer.next
    assert answer.out == ""

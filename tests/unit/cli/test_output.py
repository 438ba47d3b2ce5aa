"""Tables, words and progress: what people see, and what their terminals must not."""

from __future__ import annotations

import io
import json
import re
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from knowngood.core.instants import SECOND
from knowngood.core.progress import Progress
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.progress import Events, Meter, line_of, watch
from knowngood.doors.cli.words import absolute, clean, count_text, day_text


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def output(**more: bool) -> tuple[Output, io.StringIO, io.StringIO]:
    """An output in pipes, and both ends."""
    out, err = io.StringIO(), io.StringIO()
    return Output(stdout=out, stderr=err, **more), out, err


# ------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Grüße 漢字", "plain Grüße 漢字"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\t\r", "a\\nb\\t\\r"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_names_cannot_steer_a_terminal(text: str, shown: str) -> None:
    """Escapes, directions and bytes that are no text are spelled out."""
    assert clean(text) == shown


def test_days() -> None:
    """As a person would say."""

    def local(text: str) -> int:
        return int(datetime.fromisoformat(text).astimezone().timestamp()) * SECOND

    now = local("2026-11-20T14:30")
    assert day_text(local("2026-11-20T14:02:59"), now=now) == "today 14:02"
    assert day_text(local("2026-11-19T00:00"), now=now) == "yesterday 00:00"
    assert day_text(local("2026-11-18T23:59"), now=now) == "2026-11-18 23:59"
    assert day_text(local("2026-11-21T00:01"), now=now) == "2026-11-21 00:01"


def test_counts() -> None:
    """One is one."""
    assert [count_text(1, "point"), count_text(12345, "point"), count_text(0, "copy", "copies")] == [
        "1 point",
        "12 345 points",
        "0 copies",
    ]


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`..` goes where the system would go; a link at the end stays a link."""
    (tmp_path / "real" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/below")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    here = str(tmp_path.resolve())
    assert absolute("link") == f"{here}/link"
    assert absolute("./a//b/") == f"{here}/a/b"
    assert absolute("link/../x") == f"{here}/real/x"
    assert absolute("link/..") == f"{here}/real"
    assert absolute("~/x") == "/home/somebody/x"
    assert absolute("/a/b") == "/a/b"


# ------------------------------------------------------------------------------------------------------------ output


def test_plain_table() -> None:
    """Aligned, for pipes, without anything to draw."""
    out, stdout, _ = output()
    out.table(["name", "size"], [["a\x1b", "5"], ["longer", "12345"]], right=[1])
    assert stdout.getvalue() == "name     size\na\\x1b       5\nlonger  12345\n"


def test_terminal_table() -> None:
    """Drawn by rich; markup in names is text."""
    stdout = Terminal()
    Output(stdout=stdout, stderr=io.StringIO()).table(["name"], [["[red]x[/red]"]])
    assert "[red]x[/red]" in stdout.getvalue()


def test_json_is_one_document() -> None:
    """Human words stay away, warnings come along, bytes are hex."""
    out, stdout, stderr = output(as_json=True)
    out.note("hello")
    out.warn("careful")
    out.result("a b", {"id": b"\x01\xff", "path": "x\udcff"}, lambda: out.line("human"))
    assert json.loads(stdout.getvalue()) == {
        "document": "a b",
        "id": "01ff",
        "path": "x\udcff",
        "warnings": ["careful"],
    }
    assert stderr.getvalue() == ""
    with pytest.raises(RuntimeError):
        out.result("a b", {}, lambda: None)
    with pytest.raises(TypeError):
        output(as_json=True)[0].result("a", {"x": object()}, lambda: None)


def test_quiet() -> None:
    """Answers and warnings stay, notes go."""
    out, stdout, stderr = output(quiet=True)
    out.note("done")
    out.line("answer")
    out.pairs([("a", "1"), ("long", "2\x07")])
    out.warn("careful")
    assert stdout.getvalue() == "answer\na     1\nlong  2\\x07\n"
    assert stderr.getvalue() == "warning: careful\n"


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for those who want them."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stderr = Terminal()
    Output(stdout=io.StringIO(), stderr=stderr).warn("x")
    monkeypatch.setenv("NO_COLOR", "1")
    Output(stdout=io.StringIO(), stderr=stderr).warn("y")
    assert stderr.getvalue() == "\x1b[33mwarning:\x1b[0m x\nwarning: y\n"


def test_narrow_encodings() -> None:
    """A terminal that knows only ASCII gets escapes, not an exception."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Output(stdout=stream, stderr=io.StringIO()).line("ä → b")
    stream.flush()
    assert raw.getvalue() == b"\\xe4 \\u2192 b\n"


# ---------------------------------------------------------------------------------------------------------- progress


def test_line_of_progress() -> None:
    """Phase, amount, rate, time left, path; cut to the width."""
    progress = Progress(phase="reading uploads", files=1200, bytes=3 << 20, total_bytes=4 << 20, current="a/b\n")
    meter = Meter()
    assert line_of(Progress(), meter, 80) == "starting"
    meter.look(0, 1 << 20)
    meter.look(2, 3 << 20)
    line = line_of(progress, meter, 200)
    assert line == "reading uploads · 3.0 MiB of 4.0 MiB · 75 % · 1 200 files · 1.0 MiB/s · 1.0 s left · a/b\\n"
    assert line_of(progress, meter, 30) == line[:29] + "…"
    assert line_of(Progress(phase="x", bytes=5), Meter(), 80) == "x · 5 B"


def test_rate_looks_at_the_last_seconds_only() -> None:
    """A fast beginning is forgotten."""
    meter = Meter()
    assert (meter.rate, meter.left(Progress(total_bytes=5))) == (0, None)
    for second in range(60):
        meter.look(second, 1000 * min(second, 30) + 10 * max(0, second - 30))
    assert meter.rate == pytest.approx(10, rel=0.01)
    assert meter.left(Progress(bytes=5, total_bytes=5)) is None


def test_events() -> None:
    """Each phase once, counters when they changed."""
    out, _, stderr = output()
    events, progress, meter = Events(out), Progress(), Meter()
    progress.enter("planning")
    progress.enter("reading")
    events.look(progress, meter)
    events.look(progress, meter)
    progress.bytes = 7
    events.look(progress, meter)
    told = [json.loads(line) for line in stderr.getvalue().splitlines()]
    assert [(each["event"], each["phase"], each["bytes"]) for each in told] == [
        ("phase", "planning", 0),
        ("phase", "reading", 0),
        ("progress", "reading", 7),
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", told[0]["at"])


def test_watch_as_events_ends_with_the_last_counters() -> None:
    """However short the run was; the thread is gone afterwards."""
    out, _, stderr = output()
    progress = Progress()
    with watch(progress, out, events=True):
        progress.enter("reading")
        progress.bytes = 9
    told = [json.loads(line)["event"] for line in stderr.getvalue().splitlines()]
    assert told == ["phase", "progress", "end"]
    assert "progress" not in {each.name for each in threading.enumerate()}


def test_watch_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is drawn, makes room for others, and is gone at the end."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("knowngood.doors.cli.progress._LINE_EVERY", 0.001)
    drawn = threading.Event()

    class Noted(Terminal):
        def write(self, text: str) -> int:
            if "reading" in text:
                drawn.set()
            return super().write(text)

    stderr = Noted()
    out = Output(stdout=io.StringIO(), stderr=stderr)
    progress = Progress()
    with watch(progress, out, events=False):
        progress.enter("reading")
        assert drawn.wait(30)
        out.warn("careful")
    assert "\r\x1b[K" in stderr.getvalue()
    assert "careful" in stderr.getvalue()
    assert "reading" not in stderr.getvalue().rsplit("\r", 1)[1]
    assert out.before_writing is None


def test_bytes_as_they_are() -> None:
    """In their place between lines."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw)
    out = Output(stdout=stream, stderr=io.StringIO())
    out.line("one")
    out.raw(memoryview(b"\xff\0"))
    out.line("two")
    out.close()
    assert raw.getvalue() == b"one\n\xff\0two\n"
    stream.detach()


@pytest.mark.parametrize("more", [{"quiet": True}, {"as_json": True}, {}])
def test_watch_is_silent_where_nobody_looks(more: dict[str, bool]) -> None:
    """No thread, no line."""
    out, stdout, stderr = output(**more)
    before = threading.active_count()
    with watch(Progress(), out, events=False):
        assert threading.active_count() == before
    assert stdout.getvalue() + stderr.getvalue() == ""


def test_watch_lets_errors_through() -> None:
    """And still ends its thread."""
    out, _, _ = output()
    started = time.monotonic()
    with pytest.raises(ValueError, match="x"), watch(Progress(), out, events=True):
        raise ValueError("x")
    assert "progress" not in {each.name for each in threading.enumerate()}
    assert time.monotonic() - started < 30

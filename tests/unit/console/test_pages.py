"""What pages say; how they look is for tests/browser."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from knowngood.core.instants import SECOND, iso_text, now_ns
from knowngood.core.model import Level, Point, Status
from knowngood.doors.console.asking import Words
from knowngood.doors.console.days import calendar, strip
from knowngood.doors.console.inside import PAGE
from knowngood.doors.console.pages import packed, render, url
from knowngood.doors.console.recovery import Wanted
from knowngood.doors.console.timeline import timeline_values
from tests.unit.console.asgi import Visitor
from tests.user import User


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_text("content")
    return folder


@pytest.fixture
def visitor(tmp_path: Path, data: Path) -> Visitor:
    """Inside, before a home with a service and a point."""
    user = User(tmp_path)
    user.begins("shop", data)
    user.protects()
    visitor = Visitor(user)
    visitor.signs_in()
    return visitor


def test_names_of_any_bytes_go_there_and_back() -> None:
    """In addresses and in forms."""
    name = b"a/\xff\n&=+%<>\"'".decode("utf-8", "surrogateescape")
    assert Words(url("/x", path=name).partition("?")[2]).one("path") == name
    assert Words(packed("c", name)).one("path") == name
    assert url("/services/\udcff", at=None, path="") == "/services/%FF"


def test_nothing_hides_in_a_page() -> None:
    """Markup is text, and what cannot be seen is made visible."""
    wrong = {"message": "<b>\u202egnp\x1b[0m\udcff", "hint": "one\ntwo <i>"}
    text = render("failure_part.html", {"wrong": wrong})
    assert "&lt;b&gt;\\u202egnp\\x1b[0m\\xff" in text
    assert "one\ntwo &lt;i&gt;" in text


def test_days_that_nobody_knows_are_unknown() -> None:
    """Not kept, and not left out."""
    known = {"day": "2026-11-26", "state": "late", "kept": 86000.0, "late": 400.0, "broken": 0.0, "unknown": 0.0}
    shown = strip([known], "2026-11-27", 3)
    assert [each["state"] for each in shown] == ["unknown", "late", "unknown"]
    assert "6 min 40 s late" in shown[1]["text"]
    drawn = calendar([known], "2026-11-27", weeks=2)
    assert len(drawn["cells"]) == 7 + 5
    assert (drawn["text"], len(drawn["bad"])) == ("The last 12 days: 1 late, 11 unknown", 1)


def _point(seconds_ago: float, status: Status = Status.RECOVERABLE, level: Level = Level.CUT) -> Point:
    moment = now_ns() - int(seconds_ago * SECOND)
    return Point(
        id=b"point", service="shop", service_label=b"", marks=(), moment_ns=moment, started_ns=moment,
        received_ns=moment, status=status, level=level, evidence={},
    )  # fmt: skip


def test_timeline_shows_what_matters_most() -> None:
    """Many points at one place are one mark, of the worst; gaps are told; what lies outside is left out."""
    points = [_point(3.0), _point(2.0, Status.SUSPECT, Level.HELD), _point(1.0), _point(7200)]
    now = now_ns()
    covered = {
        "from": iso_text(now - 600 * SECOND),
        "until": iso_text(now - 300 * SECOND),
        "broken": {"after": iso_text(now - 300 * SECOND), "reason": "a gap"},
    }
    timeline = {"components": [{"name": "data", "covered": [covered]}]}
    drawn = timeline_values("shop", points, timeline, [], "hour")
    assert [(each["status"], "and 2 more" in each["text"]) for each in drawn["marks"]] == [("suspect", True)]
    assert drawn["summary"] == "3 points in this hour, of 4"
    assert [each.endswith("a gap") for each in drawn["gaps"]] == [True]
    assert 0 < drawn["lanes"][0]["covered"][0]["width"] < 100


def test_a_page_of_a_long_folder(visitor: Visitor, data: Path) -> None:
    """The next page begins where this one ends."""
    for number in range(PAGE + 5):
        (data / f"f{number:04}").touch()
    visitor.user.protects()
    first = visitor.gets("/services/shop/browse?component=data").text
    link = re.findall('<a href="([^"]+)" data-more="entries"', first)
    assert (first.count('type="checkbox" name="pick"'), len(link)) == (PAGE, 1)
    rest = visitor.gets(html.unescape(link[0])).text
    names = re.findall(r'aria-label="choose ([^"]+)"', first + rest)
    assert names == sorted(["file", *(f"f{number:04}" for number in range(PAGE + 5))])
    assert "data-more" not in rest


def test_a_plan_that_is_old_is_not_carried_out(visitor: Visitor, data: Path) -> None:
    """Who agreed to one plan has not agreed to another."""
    (data / "file").unlink()
    shown = visitor.gets("/services/shop/recover?plan=1&at=latest&where=original").text
    seen = shown.partition('name="print" value="')[2].partition('"')[0]
    at = shown.partition('name="at" value="')[2].partition('"')[0]
    (data / "file").write_text("something new")
    answer = visitor.posts("/services/shop/recover", token=visitor.token, print=seen, at=at)
    assert (answer.status, "has changed since the plan was shown" in answer.text) == (503, True)
    assert visitor.console.jobs.all() == []
    assert (data / "file").read_text() == "something new"


def test_what_is_wanted() -> None:
    """As words of the command line; nonsense is refused."""
    picks = packed("data", "a\udcff"), packed("data", "b")
    query = url("", at="14:02", pick=list(picks), where="folder", to="/srv/then", delete="1")[1:]
    wanted = Wanted.of("shop", Words(query))
    assert wanted.command() == [
        "recover", "shop", "--at=14:02", "--component=data", "--path=a\udcff", "--path=b", "--to=/srv/then",
    ]  # fmt: skip
    answer = [("at", "14:02"), ("to", "/srv/then"), ("pick", picks[0]), ("pick", picks[1])]
    assert wanted.fields() == answer
    whole = Wanted.of("shop", Words("where=original&to=%2Fx&delete=1&component=data"))
    assert whole.command() == ["recover", "shop", "--at=latest", "--component=data", "--delete"]


def test_what_goes_wrong_is_said(visitor: Visitor) -> None:
    """With a status that programs understand, and what to do next."""
    for address, status, said in (
        ("/services/nobody", 404, "there is no service"),
        ("/services/shop/browse?path=nowhere", 404, "there is no"),
        ("/services/shop/browse?at=2001-01-01", 404, "no point as old"),
        ("/services/shop/browse?at=soon", 400, "is not a moment"),
        ("/services/shop/compare", 400, "say with which moment"),
        ("/services/shop/timeline?span=eon", 400, "is not a span"),
        ("/services/shop/recover?plan=1&where=folder&to=then", 400, "is not a whole path"),
        ("/services/shop/policy?rpo=soon", 400, "is not a span of time"),
        ("/jobs/none", 404, "there is no such job"),
        ("/elsewhere/entirely", 404, "there is no page '/elsewhere/entirely'"),
    ):
        answer = visitor.gets(address)
        assert (answer.status, said in html.unescape(answer.text)) == (status, True), address
    part = visitor.gets("/services/shop/timeline?span=eon", x_part="1")
    assert part.text.lstrip().startswith('<div class="notice bad"')


def test_a_service_is_described(visitor: Visitor, tmp_path: Path) -> None:
    """In a form or as a file; a mistake comes back with what was typed."""
    wrong = visitor.posts("/services/new", token=visitor.token, name="a b", files="/srv", rpo="5m")
    assert (wrong.status, 'value="a b"' in wrong.text) == (400, True)
    text = f"service: wiki\r\ncomponents: {{data: {{kind: files, path: {tmp_path}}}}}\r\n"
    assert visitor.posts("/services/new", token=visitor.token, yaml=text).headers["location"] == "/services/wiki"
    assert visitor.posts("/services/wiki/policy", token=visitor.token, rpo="10m").status == 303
    assert visitor.user.asks("policy", "show", "wiki")["policy"]["rpo"] == 600


def test_a_locked_vault_is_opened_for_a_while(tmp_path: Path, data: Path) -> None:
    """With its passphrase, until somebody locks it; commands that are begun have the key too."""
    user = User(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    user.does("init", "--vault", user.vault, "--passphrase-file", secret)
    user.does("service", "add", "shop", "--files", data)
    user.protects()
    (data / "file").unlink()
    visitor = Visitor(user)
    visitor.signs_in()
    address = "/services/shop/browse?component=data"
    shut = visitor.gets(address)
    assert (shut.status, f'name="next" value="{html.escape(address)}"' in shut.text) == (423, True)
    wrong = visitor.posts("/unlock", token=visitor.token, passphrase="guess", next=address)
    assert (wrong.status, visitor.gets(address).status) == (423, 423)
    opened = visitor.posts("/unlock", token=visitor.token, passphrase="open sesame", next=address)
    assert (opened.status, opened.headers["location"]) == (303, address)
    assert "Lock the vault" in visitor.gets(address).text
    shown = visitor.gets("/services/shop/recover?plan=1&at=latest&where=original").text
    fields = dict(re.findall('type="hidden" name="(print|at)" value="([^"]+)"', shown))
    begun = visitor.posts("/services/shop/recover", token=visitor.token, **fields)
    job = visitor.console.jobs.get(begun.headers["location"].rpartition("/")[2])
    assert "recovery" not in job.command
    told = visitor.gets(f"/jobs/{job.id}/events").text
    assert '"ended": true' in told
    assert (job.state, job.error) == ("done", {})
    assert (data / "file").read_text() == "content"
    visitor.posts("/lock", token=visitor.token)
    assert visitor.gets(address).status == 423
    visitor.console.jobs.end()

"""Who may come in, and what only they may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from knowngood.core.errors import UsageError
from knowngood.doors.console.actions import ACTIONS
from knowngood.doors.console.gate import Gate
from knowngood.doors.console.views import VIEWS
from tests.unit.console.asgi import Visitor
from tests.user import User


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    """Before a home with a service."""
    (tmp_path / "data").mkdir()
    user = User(tmp_path)
    user.begins("shop", tmp_path / "data")
    return Visitor(user)


def test_nobody_sees_anything_before(visitor: Visitor) -> None:
    """Every address leads to the form, and back to where one wanted to go; nothing is done."""
    for path in [*VIEWS, *ACTIONS, "/jobs/x/events", "/services/shop/download", "/sign-out"]:
        shown = path.replace("{service}", "shop").replace("{job}", "x")
        for answer in (visitor.gets(shown), visitor.posts(shown)):
            assert (answer.status in (303, 405), "shop" in answer.text) == (True, False)
            if answer.status == 303:
                assert answer.headers["location"].startswith("/sign-in")
    assert visitor.gets("/services/shop").headers["location"] == "/sign-in?next=%2Fservices%2Fshop"
    assert visitor.user.points() == []


def test_the_key_signs_in(visitor: Visitor) -> None:
    """Only the right one; the cookie is for no script and no other site. Signing out ends it."""
    wrong = visitor.signs_in("a key")
    assert (wrong.status, visitor.cookie) == (403, "")
    assert "that is not the key" in wrong.text
    answer = visitor.signs_in()
    assert answer.headers["location"] == "/"
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert visitor.gets("/").status == 200
    assert visitor.posts("/sign-out").status == 400
    assert visitor.posts("/sign-out", token=visitor.token).status == 303
    assert visitor.gets("/").status == 303


def test_nobody_is_lead_away(visitor: Visitor) -> None:
    """After signing in one goes on inside, whatever the address says."""
    for there in ("https://example.org/", "//example.org", "/\\example.org", "/sign-out"):
        assert visitor.posts("/sign-in", key="the key", next=there).headers["location"] == "/"
    assert visitor.posts("/sign-in", key="the key", next="/jobs").headers["location"] == "/jobs"


def test_guessing_takes_long() -> None:
    """After ten wrong keys even the right one has to wait."""
    gate = Gate("right")
    for _ in range(10):
        assert gate.enter("wrong") is None
    with pytest.raises(UsageError, match="too often"):
        gate.enter("right")


def test_forms_of_others_do_nothing(visitor: Visitor) -> None:
    """Without the session's token nothing is done, though the cookie is right."""
    visitor.signs_in()
    for path in ACTIONS:
        shown = path.replace("{service}", "shop").replace("{job}", "x")
        for token in ({}, {"token": "guessed"}):
            answer = visitor.posts(shown, name="other", files="/srv", rpo="1m", **token)
            assert (answer.status, "the form is not of this session" in answer.text) == (400, True)
    assert visitor.console.jobs.all() == []
    assert [each["name"] for each in visitor.user.asks("service", "list")["services"]] == ["shop"]


def test_pages_load_only_ours(visitor: Visitor) -> None:
    """Every page says so to the browser, and has neither script nor style in it."""
    visitor.signs_in()
    for path in VIEWS:
        answer = visitor.gets(path.replace("{service}", "shop").replace("{job}", "x"))
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert " style=" not in answer.text
        assert "<script>" not in answer.text
        assert "<style" not in answer.text


def test_long_forms_are_refused(visitor: Visitor) -> None:
    """Memory is bounded."""
    visitor.signs_in()
    answer = visitor.posts("/services/new", token=visitor.token, yaml="a" * (2 << 20))
    assert (answer.status, "more than a form may have" in answer.text) == (400, True)

"""The whole story, in a real browser: protect, break, find, recover, proven."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Browser, serving
from tests.user import User

pytestmark = pytest.mark.xdist_group("browser")  # one after the other, in one process


def test_protect_break_find_recover(browser: Browser, tmp_path: Path) -> None:
    """From a vault without a service to a file that is back, and a service that is proven."""
    data = tmp_path / "shop"
    (data / "orders").mkdir(parents=True)
    lost = data / "orders" / "2026-11 <b>&.csv"
    lost.write_text("1,apples\n2,pears\n")
    user = User(tmp_path)
    user.begins()
    with serving(user) as served:
        browser.sized(1100, 900)
        browser.base = served.address
        browser.driver.get(served.entrance)
        browser.sees("Nothing is protected yet")
        browser.presses("It is printed and kept elsewhere")
        browser.presses("Protect the first service")
        browser.types("name", "shop")
        browser.types("files", str(data))
        browser.presses("Protect it")
        browser.sees("there is no point")
        browser.presses("Make a point now")
        browser.sees("It is done")
        browser.presses("Go on")
        browser.sees("The last")

        lost.unlink()

        browser.presses("Browse")
        browser.types("find", "apples")
        browser.presses("Search")
        browser.sees("Nothing is called that")
        browser.types("find", "2026-11 <b>")
        browser.presses("Search")
        browser.sees("orders/2026-11 <b>&.csv")
        browser.one("input[name=pick]").click()
        browser.presses("Recover what is ticked")
        browser.sees("orders/2026-11 <b>&.csv")
        browser.presses("Show the plan")
        browser.sees("1 thing to create: not there now")
        assert not lost.exists()
        browser.presses("Recover now")
        browser.sees("It is done")
        assert lost.read_text() == "1,apples\n2,pears\n"

        browser.opens("/drills?service=shop")
        browser.sees("There was no drill yet")
        browser.presses("Rehearse a recovery now")
        browser.sees("the point is proven")
        browser.presses("Go on")
        browser.sees("shop: proven")
        assert browser.complaints() == []

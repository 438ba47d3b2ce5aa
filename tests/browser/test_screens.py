"""Every screen: nothing keeps anybody out, the policy refuses nothing, all fits on a phone, by day and by night."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import PATIENCE, Browser, Served, serving
from tests.browser.furnished import MANY, ODD, furnished
from tests.user import User

pytestmark = pytest.mark.xdist_group("browser")  # one after the other, in one process

SCREENS = {
    "services": "/",
    "service": "/services/shop",
    "service-without-points": "/services/wiki",
    "browse": "/services/shop/browse",
    "search": "/services/shop/browse?find=index",
    "file": "/services/shop/file?path=index.html",
    "binary": "/services/shop/file?path=logo.png",
    "compare": "/services/shop/compare?from=FIRST",
    "history": "/services/shop/history?path=went",
    "recover": "/services/shop/recover",
    "plan": "/services/shop/recover?plan=1&at=latest&to=%2Fsrv%2Fthen",
    "policy": "/services/shop/policy?rpo=10m&hourly=2d",
    "new": "/services/new",
    "drills": "/drills",
    "vault": "/vault",
    "jobs": "/jobs",
    "nothing": "/services/nobody",
}


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """With a home where there is something to see."""
    return furnished(tmp_path_factory.mktemp("furnished"))


@pytest.fixture(scope="module")
def served(user: User, browser: Browser) -> Iterator[Served]:
    """Its console, and the browser has signed in."""
    with serving(user) as served:
        browser.base = served.address
        browser.driver.get(served.entrance)
        browser.sees("services")
        yield served


@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str, user: User, served: Served, browser: Browser) -> None:
    """It is whole, on a phone and on a desk, by day and by night."""
    browser.complaints()
    for scheme, width in (("light", 1100), ("dark", 390)):
        browser.colours(scheme)
        browser.sized(width, 844)
        browser.opens(SCREENS[name].replace("FIRST", user.points()[-1]))
        browser.one("h1")
        assert browser.barriers() == []
        assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width
    complaints = browser.complaints()
    assert [each for each in complaints if name != "nothing" or "404" not in each] == []


def test_names_are_only_names(user: User, served: Served, browser: Browser) -> None:
    """What a name has in it is shown, and means nothing; its file can be opened, saved and chosen all the same."""
    browser.sized(1100, 900)
    browser.opens("/services/shop/browse?find=img")
    shown = '<img src=x onerror=alert(1)> & "quoted"\\n\\xff\\xfe.txt'
    link = browser.one("tbody a", shown)
    assert browser.all("main img") == []
    picked = browser.one("input[name=pick]").get_attribute("value") or ""
    assert quote(ODD, safe="") in picked
    link.click()
    browser.sees("odd")
    address = browser.one("a.button", "Download").get_attribute("href") or ""
    cookie = browser.driver.get_cookie("knowngood")
    assert cookie
    with urlopen(Request(address, headers={"Cookie": f"knowngood={cookie['value']}"}), timeout=PATIENCE) as answer:
        assert answer.read() == b"odd\n"
        assert answer.headers["Content-Disposition"].endswith(quote(ODD, safe=""))
        assert answer.headers["Content-Type"] == "application/octet-stream"
    browser.presses("Recover it")
    browser.one("li", shown)
    browser.types("to", str(user.folder / "then"))
    browser.one("input[value=folder]").click()
    browser.presses("Show the plan")
    browser.presses("Recover now")
    browser.sees("It is done")
    assert (user.folder / "then" / "data").is_dir() or os.listdir(user.folder / "then")
    found = [each for _, _, files in os.walk(bytes(user.folder / "then")) for each in files]
    assert found == [ODD]


def test_folders_of_any_length(served: Served, browser: Browser) -> None:
    """The next pages come as one scrolls; each entry once, in order."""
    browser.sized(1100, 900)
    browser.opens("/services/shop/browse?path=orders")

    def down() -> bool:
        browser.driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        return len(browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) >= MANY

    browser.until(down)
    script = "return [...document.querySelectorAll('tbody a')].map((each) => each.innerText)"
    names = browser.driver.execute_script(script)
    assert names == [f"{number:05}.csv" for number in range(MANY)]
    assert browser.all("[data-more]") == []


def test_the_timeline_is_scrubbed(served: Served, browser: Browser) -> None:
    """With the keys alone; it says what can be had at each second, and browses it."""
    browser.sized(1100, 900)
    browser.opens("/services/shop")
    scrub = browser.one("#scrub")
    latest = browser.one("#scrub-says").text
    assert "point" in latest
    scrub.send_keys(Keys.HOME)
    browser.until(lambda: "nothing that early" in browser.one("#scrub-says").text)
    scrub.send_keys(Keys.END)
    browser.until(lambda: browser.one("#scrub-says").text == latest)
    scrub.send_keys(Keys.PAGE_DOWN, Keys.ARROW_LEFT)
    browser.until(lambda: browser.one("#scrub-says").text[:19] != latest[:19])
    scrub.send_keys(Keys.END)
    browser.presses("Browse this moment")
    browser.one("tbody a", "index.html")


def test_keys(served: Served, browser: Browser) -> None:
    """What can be done can be done with keys; `?` says which."""
    browser.opens("/drills")
    page = browser.driver.find_element(By.TAG_NAME, "body")
    page.send_keys("?")
    browser.one("dialog[open]", "all services")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.until(lambda: not browser.all("dialog[open]"))
    browser.driver.find_element(By.TAG_NAME, "body").send_keys("s")
    browser.one("#find-service")
    browser.driver.find_element(By.TAG_NAME, "body").send_keys("/")
    browser.driver.switch_to.active_element.send_keys("wik")
    browser.until(lambda: [each.text.split()[0] for each in browser.all(".service h2")] == ["wiki"])

"""A browser without a window, and the real program that serves the console to it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import axe_core_python
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.user import PROGRAM, User

PATIENCE = 60.0
"""Seconds; machines can be busy. What is waited for longer does not come."""
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have; it sees pages of ours only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)


class Browser:
    """Somebody who looks at the console, and what they can do there."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.base = ""

    def opens(self, address: str) -> None:
        """Go to an address of the console, and see it whole."""
        self.driver.get(self.base + address)
        self.until(lambda: not self.driver.find_elements(By.CSS_SELECTOR, "[aria-busy]"))

    def until(self, holds: Any) -> Any:
        """Wait until something holds; returns it. What a page has just replaced is looked for again."""
        again = [StaleElementReferenceException]
        return WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=again).until(lambda _: holds())

    def one(self, selector: str, text: str = "") -> WebElement:
        """The first thing that is shown, of this selector and with this text; it may come later."""
        return self.until(lambda: next((each for each in self.all(selector) if text in each.text), None))

    def all(self, selector: str) -> list[WebElement]:
        """Everything that is shown of this selector."""
        return [each for each in self.driver.find_elements(By.CSS_SELECTOR, selector) if each.is_displayed()]

    def sees(self, text: str) -> None:
        """Wait until the page says so."""
        self.until(lambda: text in self.driver.execute_script("return document.querySelector('main')?.innerText ?? ''"))

    def presses(self, text: str) -> None:
        """Press a button, or follow a link that looks like one; another page comes."""
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.until(lambda: self._pressed(text))
        self.until(lambda: self._is_another(before))

    def _pressed(self, text: str) -> bool:
        button = self.one("button, a.button", text)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        return True

    def _is_another(self, before: WebElement) -> bool:
        ready = self.driver.execute_script("return document.readyState") == "complete"
        return ready and self.driver.find_element(By.TAG_NAME, "html") != before

    def types(self, name: str, text: str) -> None:
        """Type into a field."""
        field = self.one(f"[name={name}]")
        field.clear()
        field.send_keys(text)

    def sized(self, width: int, height: int) -> None:
        """A window of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def colours(self, scheme: str) -> None:
        """`light` or `dark`."""
        wish = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)

    def barriers(self) -> list[str]:
        """What axe-core finds that keeps somebody out, by the rules of WCAG 2.1 A and AA and its good practices."""
        self.driver.execute_script(AXE)
        found = self.driver.execute_async_script("axe.run(document).then(arguments[arguments.length - 1])")
        return [f"{each['id']}: {node['html'][:150]}" for each in found["violations"] for node in each["nodes"]]

    def complaints(self) -> list[str]:
        """What the browser has said since it was asked last: errors of scripts, and what the policy has refused."""
        return [each["message"] for each in self.driver.get_log("browser")]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser whose files are in this folder, while the block runs. Raises LookupError where there is none."""
    program, leader = which("chromium"), which("chromedriver")
    if not program or not leader:
        raise LookupError("chromium and chromedriver are needed; see tools/system-packages")
    options = webdriver.ChromeOptions()
    for each in (*_OPTIONS, f"--user-data-dir={folder}/profile"):
        options.add_argument(each)
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(leader, env={"HOME": str(folder), "TMPDIR": str(folder), "PATH": "/usr/bin:/bin"})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests of a file; it has ended before others look whether they have left processes behind."""
    with ExitStack() as ending:
        try:
            yield ending.enter_context(chromium(tmp_path_factory.mktemp("browser")))
        except LookupError as wrong:
            pytest.skip(str(wrong))


@dataclass
class Served:
    """A console that is served."""

    address: str
    entrance: str


@contextmanager
def serving(user: User) -> Iterator[Served]:
    """While the block runs, `knowngood serve` answers."""
    with subprocess.Popen(
        [PROGRAM, "serve", "--port", "0", "--json"],
        env=user.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            lines = b""
            while not lines.endswith(b"}\n"):
                line = process.stdout.readline()
                assert line, "knowngood serve has ended"
                lines += line
            found = json.loads(lines)
            yield Served(found["address"].rstrip("/"), found["entrance"])
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()

"""Pictures of the console, as `make screenshots` writes them to docs/screens/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser.conftest import chromium, serving
from tests.browser.furnished import furnished
from tests.house.files import ROOT

SCREENS = {
    "services": ("/", 1000, 620, "light"),
    "service": ("/services/shop", 1000, 980, "light"),
    "browse": ("/services/shop/browse?path=", 1000, 560, "light"),
    "plan": ("/services/shop/recover?plan=1&to=%2Fsrv%2Fthen", 1000, 700, "light"),
    "drills": ("/drills", 1000, 420, "light"),
    "phone": ("/", 390, 760, "dark"),
}
"""Address, width, height, colours."""


def main() -> int:
    """Take them all."""
    target = ROOT / "docs" / "screens"
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="knowngood-screens-") as temporary:
        folder = Path(temporary)
        user = furnished(folder)
        with serving(user) as served, chromium(folder) as browser:
            browser.base = served.address
            browser.driver.get(served.entrance)
            for name, (address, width, height, colours) in SCREENS.items():
                browser.colours(colours)
                browser.sized(width, height)
                browser.opens(address)
                browser.driver.save_screenshot(str(target / f"{name}.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A home with something to see: services that are well and that are not, a log with a gap, drills, days, odd names."""

from __future__ import annotations

from pathlib import Path

from knowngood.control.home import Home
from knowngood.control.kit import note_kit_is_kept
from knowngood.control.promises import Promises, State
from knowngood.control.services import get_service
from knowngood.control.workshop import Workshop
from knowngood.core.instants import SECOND, now_ns
from knowngood.plugins import PLUGINS
from tests.recorder import Recorder
from tests.user import User

ODD = b'<img src=x onerror=alert(1)> & "quoted"\n\xff\xfe.txt'
"""A name of which everything has to be escaped, and that is no text."""
MANY = 450
"""Files of a folder with several pages."""
_DAY = 86400


def furnished(folder: Path) -> User:
    """Make it."""
    data, mail = folder / "srv" / "shop", folder / "srv" / "mail"
    (data / "orders").mkdir(parents=True)
    mail.mkdir()
    for number in range(MANY):
        (data / "orders" / f"{number:05}.csv").write_text(f"{number},apples\n")
    (data / "index.html").write_text("<h1>Apples and pears</h1>\n<script>alert(1)</script>\n")
    (data / "logo.png").write_bytes(bytes(range(256)) * 40)
    Path(bytes(data).decode(), ODD.decode("utf-8", "surrogateescape")).write_text("odd\n")
    (mail / "inbox").write_text("Dear all\n")
    user = User(folder)
    user.begins("mail", mail)
    user.does("service", "add", "shop", "--files", data)
    user.does("service", "add", "wiki", "--files", folder / "srv")
    user.does("policy", "set", "shop", "rpo=5m", "rto=1m", "drill=1d")
    user.does("policy", "set", "wiki", "rpo=1h")
    recorder = Recorder(user, data, "shop")
    recorder.protects()
    recorder.create("came", b"between points")
    recorder.rename("came", "went")
    recorder.commits()
    recorder.gap()
    recorder.commits()
    recorder.protects()
    user.protects("mail")
    user.does("drill", "shop")
    _remember(user)
    return user


def _remember(user: User) -> None:
    """Two months of days, as a keeper would have measured them."""
    home, now = Home.at(str(user.home)), now_ns()
    shop = Workshop(home, PLUGINS)
    note_kit_is_kept(home, shop.vault.id)
    shop.close()
    promises = Promises(home)
    service = get_service(home, "shop")
    for back in range(60, 0, -1):
        state = State.LATE if back % 9 == 0 else State.BROKEN if back == 13 else State.KEPT
        if back not in (20, 21):  # nobody watched
            noon = (now // SECOND // _DAY - back) * _DAY + _DAY // 2
            for each in (*[State.KEPT] * 288, state):
                promises.measured(service, each, 299.0, noon * SECOND)
    promises.save(now, ending=True)

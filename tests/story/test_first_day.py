"""The first day: a vault, a service, a mishap, and everything back as it was the moment before."""

from __future__ import annotations

from pathlib import Path

from knowngood.testing.trees import picture
from tests.story.shop import assert_same, build_shop, ruin
from tests.user import User


def test_first_day(tmp_path: Path) -> None:
    """Typed at a real command line, from nothing."""
    shop, user = build_shop(tmp_path / "srv" / "shop"), User(tmp_path)
    good = picture(shop)

    kit = user.types("init", "--vault", user.vault, "--no-passphrase")
    assert "RECOVERY KIT" in kit.out
    user.types("service", "add", "shop", "--files", shop)
    assert "of shop" in user.types("protect", "shop", "--name", "morning").out

    ruin(shop)
    ruined = picture(shop)
    user.types("protect", "shop")
    listing = user.types("points", "shop").out.splitlines()
    assert len(listing) == 3
    assert listing[-1].endswith("morning")

    moment = user.asks("points", "shop")["points"][0]["started"]  # the moment before the ruins were read
    plan = user.types("recover", "shop", "--at", moment, "--delete", "--dry-run")
    assert "delete 1" in plan.out
    assert_same(shop, ruined)

    told = user.types("recover", "shop", "--at", moment, "--delete").out
    assert "recovered point" in told
    assert "1 deleted" in told
    assert_same(shop, good)
    assert "nothing is wrong" in user.types("vault", "check", "--read-data").out


def test_the_ruins_are_history_too(tmp_path: Path) -> None:
    """Recovering does not overwrite history: the state in between comes back as exactly, and so does the first."""
    shop, user = build_shop(tmp_path / "shop"), User(tmp_path)
    good = picture(shop)
    user.begins("shop", shop)
    first = user.protects()
    ruin(shop)
    ruined = picture(shop)
    second = user.protects()
    for point, state in ((first, good), (second, ruined), (first, good)):
        user.does("recover", "shop", "--at", point["id"][:8], "--delete")
        assert_same(shop, state)
    user.does("recover", "shop", "--to", tmp_path / "elsewhere")
    assert_same(tmp_path / "elsewhere" / "shop", ruined)


def test_without_delete_new_files_stay(tmp_path: Path) -> None:
    """Recovery brings back what was; what came since goes only when that is asked for."""
    shop, user = build_shop(tmp_path / "shop"), User(tmp_path)
    user.begins("shop", shop)
    user.protects()
    ruin(shop)
    user.does("recover", "shop")
    assert (shop / "READ_ME_NOW.txt").read_text() == "your files are ours\n"
    assert (shop / "site" / "index.html").read_text() == "<h1>Shop</h1>\n"


def test_an_unchanged_service_costs_next_to_nothing(tmp_path: Path) -> None:
    """The second point reads nothing and lands almost nothing; each point is whole all the same."""
    shop, user = build_shop(tmp_path / "shop"), User(tmp_path)
    user.begins("shop", shop)
    first = user.protects()
    user.protects()
    third = user.protects()
    assert first["bytes"] == third["bytes"]
    assert first["new_bytes"] > 5_000_000
    assert third["new_bytes"] == 0
    assert [each["changed_files"] for each in third["components"]] == [0]


def test_recovering_what_is_there_already_writes_nothing(tmp_path: Path) -> None:
    """A second recovery finds everything in place."""
    shop, user = build_shop(tmp_path / "shop"), User(tmp_path)
    user.begins("shop", shop)
    user.protects()
    again = user.asks("recover", "shop", "--delete")
    assert (again["written_bytes"], again["deleted"]) == (0, 0)
    plan = again["plans"][0]
    assert (plan["create"], plan["rewrite"], plan["attributes"], plan["delete"]) == (0, 0, 0, 0)

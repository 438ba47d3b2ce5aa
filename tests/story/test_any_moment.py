"""The log leads on from a point: every moment that it covers can be looked into and brought back."""

from __future__ import annotations

import os
from pathlib import Path

from knowngood.core.instants import SECOND, iso_text
from knowngood.testing.clock import DAY
from tests.story.shop import assert_same
from tests.story.tale import Tale, live


def test_moments_elsewhere_and_in_place(tale: Tale) -> None:
    """Each moment comes back as it was, in any order; `latest` is the end of the log, a point's id that point."""
    live(tale)
    user, data = tale.user, tale.data
    for number, (at, good) in enumerate(tale.seen):
        to = tale.user.folder / f"out{number}"
        user.does("recover", "shop", "--at", at, "--to", to)
        assert_same(to / "data", good)
    for at, good in [*reversed(tale.seen), tale.seen[2]]:
        user.does("recover", "shop", "--at", at, "--delete")
        assert_same(data, good)
    user.does("recover", "shop", "--delete")
    assert_same(data, tale.seen[-1][1])
    (point,) = user.points()
    user.does("recover", "shop", "--at", point, "--delete")
    assert_same(data, tale.seen[0][1])
    user.does("recover", "shop", "--at", tale.seen[1][0], "--path", "note")
    assert (data / "note").read_bytes() == b"and otherswords"


def test_what_is_said(tale: Tale) -> None:
    """The plan and the document say which moment it is, and what it is made of."""
    live(tale)
    user, (at, _) = tale.user, tale.seen[2]
    plan = user.does("recover", "shop", "--at", at, "--dry-run").out.splitlines()[0]
    assert "made of point" in plan
    assert plan.endswith("+ 10 changes")
    moment = user.asks("recover", "shop", "--at", at, "--dry-run")["moment"]
    assert (moment["asked"], moment["at"], moment["level"]) == (at, at, "L0")
    (component,) = moment["components"]
    assert (component["changes"], component["position"], component["covered"]) == (10, 10, True)
    late = user.does("recover", "shop", "--at", iso_text(tale.clock.now_ns + SECOND), "--dry-run")
    assert "the log ends with a change of" in late.out + late.err
    exact = user.asks("recover", "shop", "--at", user.points()[0], "--dry-run")["moment"]
    assert (exact["asked"], exact["components"][0]["changes"], exact["components"][0]["position"]) == (None, 0, None)


def test_looking(tale: Tale) -> None:
    """Lists, contents and differences of moments."""
    live(tale)
    user = tale.user
    first, second, third, last = (at for at, _ in tale.seen)
    assert user.does("cat", "shop", "note", "--at", first).raw == b"the first words"
    assert user.does("cat", "shop", "note", "--at", third).raw == b"and otherswords"
    assert [each["path"] for each in user.asks("ls", "shop")["entries"]] == ["ledger", "moved", "sub"]
    assert [each["path"] for each in user.asks("find", "shop", "older", "--at", third)["entries"]] == ["sub/deep/older"]
    changes = user.asks("diff", "shop", "--from", second, "--to", third)["changes"]
    assert {(each["what"], (each["after"] or each["before"])["path"]) for each in changes} == {
        ("attributes", "note"),
        ("attributes", "sub"),
        ("added", "sub/deep"),
        ("added", "sub/deep/older"),
        ("added", "sub/new"),
        ("removed", "sub/old"),
    }
    assert user.asks("diff", "shop", "--from", last, "--to", "latest")["changes"] == []
    assert len(user.asks("diff", "shop")["changes"]) > 5  # without --from: with the point that it is made of


def test_a_point_replayed_to_is_no_other(tale: Tale) -> None:
    """The state that a log leads to has no difference from the point that was made there."""
    live(tale)
    before = iso_text(tale.clock.now_ns)
    tale.clock.move(1)
    point = tale.recorder.protects()["id"]
    assert tale.user.asks("diff", "shop", "--from", before, "--to", point)["changes"] == []


def test_history(tale: Tale) -> None:
    """Every version, with its cause; points that the log leads to are none."""
    live(tale)
    tale.recorder.protects()
    tale.recorder.create("note", b"again")
    tale.recorder.commits()
    versions = tale.user.asks("history", "shop", "note")["versions"]
    assert [(each["cause"], each["entry"] and each["entry"]["size"]) for each in versions] == [
        ("created", 15),
        ("written", 15),
        ("attributes", 15),
        ("deleted", None),
        ("created", 5),
    ]
    assert [each["point"] is None for each in versions] == [False, True, True, True, True]
    moved = tale.user.asks("history", "shop", "moved/older")["versions"]
    assert [(each["cause"], each["other"]) for each in moved] == [("absent", None), ("renamed", "sub/deep/older")]
    text = tale.user.does("history", "shop", "sub/deep/older").out
    assert "renamed from sub/old" in text
    assert "renamed to moved/older" in text


# ------------------------------------------------------------------------------------------------- where it breaks


def test_a_gap_is_not_papered_over(tale: Tale) -> None:
    """Within it: what there is before and after, as commands. Before it and after the next point: all is well."""
    does, user = tale.recorder, tale.user
    does.write("note", b"known")
    known = tale.look()
    does.write("note", b"lost!")
    does.commits()
    inside = tale.look()
    does.gap()
    does.commits()
    for words in (("recover", "shop", "--at", inside), ("ls", "shop"), ("cat", "shop", "note", "--at", inside)):
        refused = user.does(*words, status=4)
        assert "changes were lost" in refused.err
        assert "there is none after it yet; to make one: knowngood protect shop" in refused.next
    user.does("recover", "shop", "--at", known, "--dry-run")
    tale.clock.move(5)
    point = does.protects()["id"]
    refused = user.does("recover", "shop", "--at", inside, status=4)
    assert f"knowngood recover shop --at {point[:8]}" in refused.next
    before = refused.next.split("--at ")[1].split(";")[0]
    assert user.does("cat", "shop", "note", "--at", before).raw.startswith(b"known")
    does.write("note", b"after")
    does.commits()
    assert user.does("cat", "shop", "note").raw.startswith(b"after")
    history = user.asks("history", "shop", "note")
    assert [each["cause"] for each in history["versions"]][-2:] == ["written", "written"]
    assert "changes were lost" in history["unknown"][0]["reason"]


def test_a_new_chain(tale: Tale) -> None:
    """Its beginning is a break like a gap, until a point is made in it."""
    does, user = tale.recorder, tale.user
    does.write("note", b"old chain")
    does.commits()
    old = tale.look()
    does.write("note", b"new chain")
    does.commits(anew=True)
    tale.clock.move(1)
    assert "new chain" in user.does("ls", "shop", status=4).err
    assert "new chain" in user.does("ls", "shop", "--at", old, status=4).err
    does.protects()
    assert user.does("cat", "shop", "note").raw.startswith(b"new chain")


def test_before_the_first_point(tale: Tale) -> None:
    """There is nothing, and it says so."""
    assert "no point as old" in tale.user.does("ls", "shop", "--at", "5 days ago", status=4).err


def test_a_thinned_log_leaves_its_points(tale: Tale) -> None:
    """What the any-moment window no longer holds is answered with the point before, and said."""
    live(tale)
    user = tale.user
    end = tale.recorder.commits().sequence
    tale.clock.move(1)
    tale.recorder.protects()
    tale.recorder.write("ledger", b"later")
    tale.recorder.commits()
    tale.recorder.thins(0, end)
    answer = user.does("ls", "shop", "--at", tale.seen[2][0])
    assert "not kept any more" in answer.out + answer.err
    assert "sub/old" in user.does("find", "shop", "old", "--at", tale.seen[2][0]).out
    assert user.does("cat", "shop", "ledger").raw.startswith(b"later")


def test_damage_in_a_segment(tale: Tale) -> None:
    """Before it, everything; after it, why not, and the next point; from that one on, everything."""
    does, user = tale.recorder, tale.user
    does.write("note", b"one")
    does.commits()
    tale.clock.move(1)
    does.write("note", b"two")
    two = tale.look()
    does.commits()
    does.write("note", b"three")
    does.commits()
    three = tale.look()
    point = does.protects()["id"]
    tale.clock.move(1)
    does.write("note", b"four")
    does.commits()
    _flip(does.segments()[2])
    assert user.does("cat", "shop", "note").raw.startswith(b"four")
    refused = user.does("recover", "shop", "--at", three, status=6)
    assert f"--at {point[:8]}" in refused.next
    assert "the nearest before: knowngood recover shop --at 2" in refused.next
    refused = user.does("cat", "shop", "note", "--at", two, status=6)  # whether it comes next cannot be known
    before = refused.next.split("--at ")[1].split(";")[0]
    assert user.does("cat", "shop", "note", "--at", before).raw.startswith(b"one")


def _flip(path: Path) -> None:
    """One bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_clock_that_was_set_back_a_day(tale: Tale) -> None:
    """Order is the log's: nothing that bears a later time is inside, and a point made in the second day counts."""
    does, user, clock = tale.recorder, tale.user, tale.clock
    morning = tale.look()
    does.write("note", b"first day")
    noon = tale.look()
    clock.move(-DAY / 2)
    does.write("note", b"again it")
    does.commits()
    assert user.does("cat", "shop", "note", "--at", morning).raw.startswith(b"the first")
    assert user.does("cat", "shop", "note", "--at", noon).raw.startswith(b"again it")
    assert user.does("cat", "shop", "note").raw.startswith(b"again it")
    said = user.does("ls", "shop", "--at", noon)
    assert "clock was set back by" in said.out + said.err


def test_nothing_is_left_in_the_home(tale: Tale) -> None:
    """What the log brought lay in a file without a name."""
    live(tale)
    before = sorted(os.walk(tale.user.home / "state"))
    tale.user.does("cat", "shop", "ledger")
    assert sorted(os.walk(tale.user.home / "state")) == before


def test_timeline(tale: Tale) -> None:
    """From when to when every moment can be had, where it breaks, and what comes after."""
    live(tale)
    does, user = tale.recorder, tale.user
    does.gap()
    does.commits()
    tale.clock.move(60)
    point = does.protects()["id"]
    does.create("more")
    does.commits()
    (component,) = user.asks("timeline", "shop")["components"]
    first, second = component["covered"]
    assert first["broken"]["next"] == second["point"] == point
    assert second["broken"] is None
    assert component["records"] == first["records"] + second["records"] == 20
    user.does("ls", "shop", "--at", first["until"])
    user.does("ls", "shop", "--at", second["until"])
    assert "known again from point" in user.does("timeline", "shop").out

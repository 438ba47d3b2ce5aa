"""Changes as plans, and edits that leave comments alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from knowngood.control.changes import Difference, plan_change, plan_removal
from knowngood.control.editing import revised
from knowngood.control.home import Home
from knowngood.control.services import get_service, parse_service, service_text, with_files
from knowngood.core.errors import Busy, NotFound
from knowngood.core.model import Keep, Policy, ServiceSpec

replace = msgspec.structs.replace

TEXT = """\
# the shop
service: shop
components:
  uploads:          # what customers send
    kind: files
    path: /srv/uploads
    exclude:
      - "*.tmp"   # not these
  # the code
  code: {kind: files, path: /srv/code}   # flow

# how long
policy:
  keep: {any-moment: 2d, hourly: 7d}  # few
  undo: 7d # undo
"""


@pytest.fixture
def spec() -> ServiceSpec:
    """What the text says."""
    return parse_service(TEXT, "")


def lines(text: str) -> set[str]:
    """Lines as a set, to compare."""
    return set(text.splitlines())


def test_component_added_in_place(spec: ServiceSpec) -> None:
    """Behind the others, in front of the comment that follows."""
    text = revised(TEXT, with_files(spec, "shop", ["/srv/new"], exclude=["a: b"]))
    assert lines(TEXT) < lines(text)
    assert text.index("# flow") < text.index("new:") < text.index("# how long")
    assert parse_service(text, "") == with_files(spec, "shop", ["/srv/new"], exclude=["a: b"])


def test_component_taken_out(spec: ServiceSpec) -> None:
    """Its lines go, all others stay."""
    text = revised(TEXT, replace(spec, components=spec.components[1:]))
    assert lines(TEXT) - lines(text) == set(TEXT.splitlines()[3:8])
    text = revised(TEXT, replace(spec, components=spec.components[:1]))
    assert lines(TEXT) - lines(text) == {"  code: {kind: files, path: /srv/code}   # flow"}


def test_policy_set_in_place(spec: ServiceSpec) -> None:
    """Only the values that change; `2d` is not rewritten as `48h`."""
    policy = Policy(keep=replace(spec.policy.keep, hourly=3600, yearly=86400 * 3650), undo=0)
    text = revised(TEXT, replace(spec, policy=policy))
    assert lines(text) - lines(TEXT) == {
        "  keep: {any-moment: 2d, hourly: 1h, yearly: 10y}  # few",
        "  undo: 0d # undo",
    }


@pytest.mark.parametrize("block", ["", "policy:\n  undo: 7d # u\n", "policy:\n  keep:\n    hourly: 7d # h\n"])
def test_policy_added(block: str, spec: ServiceSpec) -> None:
    """To a file that had none, or half of one, also without a last line end."""
    head = TEXT[: TEXT.index("# how long")]
    wanted = replace(spec, policy=Policy(keep=Keep(daily=0), undo=0))
    for text in (head + block, (head + block).rstrip("\n")):
        edited = revised(text, wanted)
        assert parse_service(edited, "") == wanted
        assert "# what customers send" in edited


@pytest.mark.parametrize(
    "text",
    [
        "{service: shop, components: {a: {kind: files, path: /a}}}",
        "service: shop\ncomponents: {a: {kind: files, path: /a}}\npolicy:\n",
        "service: shop\ncomponents: {a: {kind: files, path: /a}}\npolicy: {keep: {}}",
        "service: shop\ncomponents:\n  a:\n    kind: files\n    path: >-\n      /a\n",
        "service: shop\ncomponents:\n  a: &a {kind: files, path: /a}\n  b: *a\n",
        "? service\n: shop\n? components\n: {a: {kind: files, path: /a}}\n",
    ],
)
def test_any_layout_says_what_is_wanted(text: str) -> None:
    """Where an edit is not foreseen, the file is written anew."""
    spec = parse_service(text, "")
    for wanted in (
        with_files(spec, "shop", ["/b/c"]),
        replace(spec, policy=Policy(keep=Keep(hourly=0), undo=1)),
        replace(with_files(spec, "shop", ["/b/c"]), components=with_files(spec, "shop", ["/b/c"]).components[-1:]),
    ):
        assert parse_service(revised(text, wanted), "") == wanted


def test_plan_then_the_same_plan(tmp_path: Path, spec: ServiceSpec) -> None:
    """Created, left alone, changed, removed."""
    home = Home.at(str(tmp_path / "home"))
    plan = plan_change(home, spec, text=TEXT)
    assert (plan.action, not home.exists()) == ("create", True)
    assert plan.carry_out(home) == f"{home.services}/shop.yaml"
    assert Path(home.services, "shop.yaml").read_text() == TEXT

    again = plan_change(home, spec)
    assert (again.action, again.differences(), again.carry_out(home)) == ("none", [], None)

    change = plan_change(home, replace(spec, policy=Policy(keep=Keep(hourly=3600 * 24 * 3), undo=0)))
    assert change.action == "change"
    assert change.differences() == [
        Difference("policy.keep.hourly", "7d", "3d"),
        Difference("policy.undo", "7d", "0d"),
    ]
    assert any("'hourly' becomes shorter: 7d → 3d" in each for each in change.warnings())
    change.carry_out(home)
    assert get_service(home, "shop") == change.after

    removal = plan_removal(home, "shop")
    assert (removal.action, removal.warnings()) == ("remove", [])
    kept = removal.carry_out(home)
    assert kept is not None
    assert parse_service(Path(kept).read_text(), "") == change.after
    with pytest.raises(NotFound):
        plan_removal(home, "shop")


def test_a_plan_is_not_carried_out_on_something_else(tmp_path: Path, spec: ServiceSpec) -> None:
    """Somebody edited the file in between."""
    home = Home.at(str(tmp_path))
    plan_change(home, spec).carry_out(home)
    plans = [plan_change(home, replace(spec, policy=Policy(undo=0))), plan_removal(home, "shop")]
    path = Path(home.services, "shop.yaml")
    path.write_text(service_text(spec) + "# mine\n")
    for plan in plans:
        with pytest.raises(Busy, match="was changed by somebody else"):
            plan.carry_out(home)
    assert path.read_text().endswith("# mine\n")


def test_broken_files_can_be_replaced_and_removed(tmp_path: Path, spec: ServiceSpec) -> None:
    """That is how they are mended."""
    home = Home.at(str(tmp_path))
    home.create()
    path = Path(home.services, "shop.yaml")
    path.write_bytes(b"service: [\xff")
    plan = plan_change(home, spec)
    assert (plan.action, plan.before) == ("change", None)
    plan.carry_out(home)
    assert get_service(home, "shop") == spec
    path.write_text("junk")
    assert plan_removal(home, "shop").carry_out(home)

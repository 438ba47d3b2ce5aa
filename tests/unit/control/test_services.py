"""Service files: what they may say, what is said when they say something else, and where they are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

from knowngood.control.documents import parse_document
from knowngood.control.forms import read_service
from knowngood.control.home import Home
from knowngood.control.services import (
    add_files,
    component_name,
    find_service,
    get_service,
    list_services,
    load_service,
    parse_service,
    remove_service,
    save_service,
    service_text,
    warnings_about,
)
from knowngood.control.values import normal_path
from knowngood.core.errors import Exists, KnowngoodError, NotFound, UsageError
from knowngood.core.model import ComponentSpec, Keep, Policy, ServiceSpec
from knowngood.core.traits import KindTraits, Option

SHOP = """\
service: shop
components:
  uploads: {kind: files, path: /srv/shop/uploads, exclude: ["*.tmp"], exclude-caches: true, one-file-system: false}
policy: {keep: {any-moment: 48h, hourly: 7d, daily: 30d, weekly: 90d, monthly: 1y, yearly: 0d}, undo: 7d}
"""
SPEC = ServiceSpec(
    name="shop",
    components=(
        ComponentSpec(name="uploads", kind="files", path="/srv/shop/uploads", exclude=("*.tmp",), exclude_caches=True),
    ),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    home = Home.at(str(tmp_path / "home"))
    home.create()
    return home


def test_the_whole_form() -> None:
    """As documented; a policy that is left out is the usual one."""
    assert parse_service(SHOP, "shop.yaml") == SPEC
    short = "service: shop\ncomponents: {uploads: {kind: files, path: /srv}}\npolicy:\n"
    assert parse_service(short, "").policy == Policy()
    rungs = parse_service(SHOP.replace("hourly: 7d", "hourly: 0").replace("undo: 7d", "undo: 1.5h"), "").policy
    assert rungs == Policy(keep=Keep(hourly=0), undo=5400)
    promise = parse_service(SHOP.replace("undo: 7d", "rpo: 5m, points: 90s"), "").policy
    assert promise == Policy(rpo=300, points=90)


def test_what_was_written_before_there_were_promises() -> None:
    """Points keep the definition of their time: it is still read, and promises nothing."""
    tree = {"name": "shop", "components": [], "policy": {"keep": {"hourly": 5.0}, "undo": 7.0}}
    old = msgspec.msgpack.decode(msgspec.msgpack.encode(tree), type=ServiceSpec)
    assert old.policy == Policy(keep=Keep(hourly=5), undo=7)
    assert (old.policy.rpo, old.policy.every) == (0, 0)


def test_toml() -> None:
    """The same form."""
    text = """
service = "shop"
[components.uploads]
kind = "files"
path = "/srv/shop/uploads"
exclude = ["*.tmp"]
exclude-caches = true
[policy]
undo = "7d"
[policy.keep]
hourly = "7d"
"""
    assert parse_service(text, "shop.toml", "toml") == SPEC


@pytest.mark.parametrize(
    ("old", "new", "said", "hint"),
    [
        ("exclude:", "exlude:", "f, line 3: unknown key 'exlude'", "did you mean 'exclude'?"),
        ("exclude-caches", "exclude_caches", "line 3: unknown key 'exclude_caches'", "did you mean 'exclude-caches'?"),
        ("hourly", "hourley", "line 4: unknown key 'hourley'", "did you mean 'hourly'?"),
        (
            "undo",
            "size",
            "line 4: unknown key 'size'",
            "keys that can stand here: keep, undo, rpo, rto, points, drill, hold",
        ),
        ("undo: 7d", "rpo: 0.5s", "line 4: '0.5s' is shorter than 1s", "write 1s or more, or 0 for none"),
        ("undo: 7d", "points: often", "line 4: 'often' is not a span of time", None),
        ("hourly: 7d", "hourly: 7", "line 4: '7' is not a span of time", None),
        ("hourly: 7d", "hourly: x", "line 4: 'x' is not a span of time", "write a span such as 90s, 48h, 30d or 1y"),
        ("hourly: 7d", "hourly: 999y", "line 4: '999y' is longer than 200 years", "write 200y at most"),
        ("hourly: 7d", "hourly: yes", "line 4: 'True' is not a span", "write a span such as 90s, 48h, 30d or 1y"),
        ("true", "1", "line 3: 'components.uploads.exclude-caches' must be true or false", "without quotes"),
        ("kind: files, ", "", "line 3: 'components.uploads.kind' is missing", "add 'kind: files'"),
        ('["*.tmp"]', '"*.tmp"', "line 3: 'components.uploads.exclude' must be a list", '["*.tmp"]'),
        ('["*.tmp"]', "[7]", "line 3: 'components.uploads.exclude' must be text", 'put it in quotes: "7"'),
        ('["*.tmp"]', '[""]', "line 3: 'components.uploads.exclude' holds an empty pattern", "remove it"),
        ("shop\n", "Shop\n", "line 1: 'Shop' is not a name here", ""),
        ("shop\n", "7\n", "line 1: 'service' must be text", 'put it in quotes: "7"'),
        ("  uploads", "  Up", "line 3: 'Up' is not a name here", ""),
        ("  uploads", "  " + "u" * 64, "is not a name here: a name has 1 to 63", ""),
        ("/srv/", "srv/", "line 3: the path 'srv/shop/uploads' is not absolute", "begin it with /"),
        ("/srv/", "/srv/../", "line 3: the path '/srv/../shop/uploads' holds '..'", None),
        ("/srv/shop/uploads", '"/srv/\\0"', "line 3: 'components.uploads.path' holds a zero byte", "remove it"),
        ("service:", "servis:", "2 problems in f\n  f: 'service' is missing (add 'service: NAME')", ""),
        ("policy: {keep", "policy: [{keep", None, None),
    ],
)
def test_what_is_said(old: str, new: str, said: str | None, hint: str | None) -> None:
    """File, line, what is wrong, and the fix."""
    with pytest.raises(UsageError) as caught:
        parse_service(SHOP.replace(old, new), "f")
    if said is not None:
        assert said in caught.value.message
    if hint is not None:
        assert caught.value.hint == hint


@pytest.mark.parametrize("text", ["", "- a", "x", "7", "service: a\ncomponents: {}", "service: a\ncomponents: [1]"])
def test_what_is_no_service(text: str) -> None:
    """Anything else is a usage error, and nothing worse."""
    with pytest.raises(UsageError):
        parse_service(text, "f")


DATABASE = """service: shop
components:
  db:
    kind: base
    port: "5432"
    capture: scan
"""
BASE = KindTraits(name="base", located=False, options=(Option("port", "5432", required=True), Option("user", "me")))


def read_as(text: str, *traits: KindTraits) -> ServiceSpec:
    """Read a service where these kinds are known."""
    return read_service(parse_document(text.encode(), "f", "yaml"), kinds={each.name: each for each in traits})


def test_unknown_kinds() -> None:
    """Said where the kinds are known."""
    assert read_as(SHOP, KindTraits(name="files")) == SPEC
    with pytest.raises(UsageError, match=re.escape("line 3: there is no kind 'files'")) as caught:
        read_as(SHOP, KindTraits(name="file-s"))
    assert caught.value.hint == "did you mean 'file-s'?"


def test_options_of_a_kind() -> None:
    """They are text, stand beside the other keys, and are written back as they were."""
    spec = read_as(DATABASE, BASE)
    assert spec.components == (ComponentSpec(name="db", kind="base", capture="scan", options={"port": "5432"}),)
    assert spec.components[0].where == "port=5432"
    assert parse_service(service_text(spec), "f") == spec


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("port:", "prt:", "line 5: a component of kind 'base' has no 'prt'"),
        ('port: "5432"', 'user: "a"', "line 4: 'port' of component 'db' is missing"),
        ("capture: scan", "path: /a", "line 6: a component of kind 'base' has no path"),
        ("capture: scan", "capture: watch", "line 6: kind 'base' is not captured at level 'watch'"),
        ("capture: scan", "capture: no", "line 6: 'False' is no capture level"),
        ('"5432"', "5432", "line 5: 'port' must be text"),
        ('"5432"', '"' + "x" * 5000 + '"', "line 5: 'port' must be text"),
    ],
)
def test_what_does_not_fit_a_kind(old: str, new: str, told: str) -> None:
    """Each problem with its line."""
    with pytest.raises(UsageError, match=re.escape(told)):
        read_as(DATABASE.replace(old, new), BASE)


@pytest.mark.parametrize(
    ("written", "normal"),
    [("/", "/"), ("//srv//a/", "/srv/a"), ("/./a/.", "/a"), ("/a/..b", "/a/..b"), ("/a b/\udcff", "/a b/\udcff")],
)
def test_normal_paths(written: str, normal: str) -> None:
    """One spelling for one place."""
    assert normal_path(written) == normal


def test_saved_as_read(home: Home) -> None:
    """Private, and the same again; names that are not UTF-8 too."""
    odd = ComponentSpec(name="odd", kind="files", path="/srv/\udcff 'x': #y", exclude=("\udc80*", "- a", "#"))
    spec = msgspec.structs.replace(
        SPEC, components=(*SPEC.components, odd), policy=Policy(keep=Keep(hourly=1.5), undo=0)
    )
    path = save_service(home, spec)
    assert path == f"{home.services}/shop.yaml"
    assert os.stat(path).st_mode & 0o7777 == 0o600
    assert get_service(home, "shop") == spec
    assert find_service(home, "shop") == spec
    assert find_service(home, "other") is None


def test_text_must_say_what_is_meant(home: Home) -> None:
    """A text that says something else is never written."""
    with pytest.raises(KnowngoodError, match="does not say"):
        save_service(home, SPEC, text=SHOP.replace("48h", "1h"))
    assert list_services(home).services == ()


def test_former_definitions_are_kept(home: Home) -> None:
    """Up to fifty, and they can be applied again."""
    save_service(home, SPEC, text=SHOP)
    save_service(home, msgspec.structs.replace(SPEC, policy=Policy(undo=0)))
    (former,) = Path(home.former, "shop").iterdir()
    assert former.read_text() == SHOP
    for number in range(60):
        (Path(home.former, "shop") / f"2020{number:04}.yaml").touch()
    gone = remove_service(home, "shop")
    assert load_service(gone).policy.undo == 0
    assert not os.path.exists(f"{home.services}/shop.yaml")
    assert len(os.listdir(f"{home.former}/shop")) == 50
    assert former.exists()


def test_what_may_have_been_meant(home: Home) -> None:
    """A near name, or the names there are."""
    with pytest.raises(NotFound, match="there is no service yet"):
        get_service(home, "shop")
    save_service(home, SPEC)
    for verb in (get_service, remove_service):
        with pytest.raises(NotFound) as caught:
            verb(home, "shp")
        assert caught.value.hint == "did you mean 'shop'?"
    with pytest.raises(NotFound) as caught:
        get_service(home, "mail")
    assert caught.value.hint == "services: shop"
    with pytest.raises(UsageError, match="is not a name"):
        get_service(home, "../../etc/passwd")


def test_one_broken_file_hides_no_other(home: Home) -> None:
    """It is listed as what it is."""
    save_service(home, SPEC)
    Path(home.services, "bad.yaml").write_text("service: bad\nx: 1\n")
    Path(home.services, "alias.yaml").write_text(SHOP)
    Path(home.services, "lost.toml").write_text("")
    Path(home.services, ".shop.yaml.new").write_text("half")
    listing = list_services(home)
    assert [each.name for each in listing.services] == ["shop"]
    assert [each.name for each in listing.broken] == ["alias", "bad", "lost.toml"]
    assert "called 'shop' here, the file 'alias.yaml'" in listing.broken[0].error.message
    assert list_services(Home.at("/nonexistent")).services == ()


def test_add_files(home: Home) -> None:
    """Each path is a component, named after its last part."""
    spec = add_files(home, "shop", ["/srv/shop/Uploads/", "/data/uploads", "/"], exclude=["*.o"], one_file_system=True)
    assert [(each.name, each.path) for each in spec.components] == [
        ("uploads", "/srv/shop/Uploads"),
        ("uploads-2", "/data/uploads"),
        ("root", "/"),
    ]
    more = add_files(home, "shop", ["/srv/more"])
    assert more.components[:3] == spec.components
    assert get_service(home, "shop") == more
    for path, error in (("/srv/more/", Exists), ("relative", UsageError)):
        with pytest.raises(error):
            add_files(home, "shop", [path])
    with pytest.raises(UsageError, match="at least one path"):
        add_files(home, "other", [])
    with pytest.raises(UsageError, match="is not a name"):
        add_files(home, "Other", ["/x"])


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "root"),
        ("/srv/My Photos (2026)", "my-photos-2026"),
        ("/home/ö", "root"),
        ("/x/.config", "config"),
        ("/x/\udcff", "root"),
        ("/x/" + "a" * 200, "a" * 59),
    ],
)
def test_component_names(path: str, name: str) -> None:
    """Always a name that the form takes."""
    assert component_name(path, ()) == name
    taken = {name, f"{name}-2"}
    assert component_name(path, taken) == f"{name}-3"
    text = service_text(ServiceSpec(name="x", components=(ComponentSpec(name=f"{name}-3", kind="files", path="/x"),)))
    assert parse_service(text, "").components[0].name == f"{name}-3"


def test_warnings() -> None:
    """Allowed, and perhaps not meant."""
    assert warnings_about(SPEC) == []
    nested = ServiceSpec(
        name="x",
        components=tuple(
            ComponentSpec(name=name, kind="files", path=path)
            for name, path in (("a", "/srv"), ("b", "/srv/x"), ("c", "/srvx"), ("d", "/srv"))
        ),
        policy=Policy(keep=Keep(hourly=3600)),
    )
    assert warnings_about(nested) == [
        "components 'a' and 'd' are both /srv",
        "component 'b' (/srv/x) lies inside 'a' (/srv): it is read twice, and stored once",
        "component 'b' (/srv/x) lies inside 'd' (/srv): it is read twice, and stored once",
        "'hourly: 1h' keeps nothing more than 'any-moment: 48h'",
    ]
    nothing = Keep(any_moment=0, hourly=0, daily=0, weekly=0, monthly=0)
    assert "only the newest" in warnings_about(msgspec.structs.replace(SPEC, policy=Policy(keep=nothing)))[0]

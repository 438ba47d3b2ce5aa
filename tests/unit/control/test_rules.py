"""What a service file says of its components together."""

from __future__ import annotations

import pytest

from knowngood.control.editing import revised
from knowngood.control.services import parse_service, service_text, without_components
from knowngood.core.errors import UsageError
from knowngood.core.model import Check, Hooks, Policy, ServiceSpec

SHOP = """\
service: shop
components:
  db: {kind: redis, url: 'unix:///run/redis.sock'}
  uploads: {kind: files, path: /srv/uploads}
refers-to: {db: [uploads]}
order: [db, uploads]
hooks:
  before-point: [/usr/local/bin/drain, -v]
  after-point: /usr/local/bin/fill  # as a path
  timeout: 30s
checks:
- {component: db, sql: "select 1", expect: 1}
- {python: checks/orders.py, timeout: 5m}
- {http: 'http://127.0.0.1:{db.port}/health', expect: 200}
policy: {rpo: 5s, rto: 10m, points: {held: 1m, quiesced: 1d}, drill: 1d, hold: 0.5s}
"""


def test_all_of_it() -> None:
    """As it is meant, and written as it is read."""
    spec = parse_service(SHOP, "shop.yaml")
    assert (spec.refers_to, spec.order) == ({"db": ("uploads",)}, ("db", "uploads"))
    assert spec.hooks == Hooks(
        before_point=("/usr/local/bin/drain", "-v"), after_point=("/usr/local/bin/fill",), timeout=30
    )
    assert spec.checks == (
        Check(component="db", word="sql", ask="select 1", expect="1"),
        Check(python="checks/orders.py", timeout=300),
        Check(http="http://127.0.0.1:{db.port}/health", expect="200"),
    )
    assert spec.policy == Policy(rpo=5, rto=600, held=60, quiesced=86400, drill=86400, hold=0.5)
    assert spec.policy.every == 60
    assert parse_service(service_text(spec), "") == spec


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("{db: [uploads]}", "{db: [upload]}", "line 5: the service has no component 'upload'"),
        ("{db: [uploads]}", "{db: [uploads], uploads: [db]}", "they refer to each other"),
        ("{db: [uploads]}", "{db: uploads}", "line 5: 'refers-to.db' must be a list of names"),
        ("order: [db,", "order: [dbb,", "line 6: the service has no component 'dbb'"),
        ("order: [db, uploads]", "order: [db, db]", "line 6: 'order' names 'db' twice"),
        ("[/usr/local/bin/drain, -v]", "drain", "line 8: 'drain' is not an absolute path"),
        ("[/usr/local/bin/drain, -v]", "[]", "line 8: 'hooks.before-point' must be the path of a program"),
        ("before-point", "before-pont", "line 8: unknown key 'before-pont'"),
        ("timeout: 30s", "timeout: 0", "line 10: a hook needs an end"),
        ("component: db, sql", "component: dbx, sql", "line 12: the service has no component 'dbx'"),
        ("component: db, sql", "sql", "line 12: a question needs a component"),
        ('sql: "select 1", ', "", "line 12: a check asks nothing"),
        ("python: checks", "ask: x, python: checks", "line 13: a check asks more than one thing"),
        ("checks/orders.py", "../orders.py", "line 13: the path '../orders.py' holds '..'"),
        ("'http:", "'ftp:", "line 14: 'ftp://127.0.0.1:{db.port}/health' is not an address"),
        ("expect: 200", "expect: '> x'", "line 14: '> x' compares with something that is no number"),
        ("expect: 200", "expext: 200", "line 14: unknown key 'expext'"),
        ("held: 1m", "held: 0.1s", "line 15: '0.1s' is shorter than 1s"),
        ("held: 1m", "hold: 1m", "line 15: unknown key 'hold'"),
        ("hold: 0.5s", "hold: 2s", "line 15: '2s' is not for how long writes can stand still"),
    ],
)
def test_what_is_said(old: str, new: str, said: str) -> None:
    """With its line."""
    with pytest.raises(UsageError) as caught:
        parse_service(SHOP.replace(old, new, 1), "f")
    assert said in caught.value.message


def test_edits_keep_it() -> None:
    """Comments stay when the policy changes; what is said of components that go, goes with them."""
    spec = parse_service(SHOP, "")
    policy = Policy(rpo=5, rto=600, held=120, quiesced=86400, drill=86400, hold=0.5)
    wanted = ServiceSpec(**{**_fields(spec), "policy": policy})
    edited = revised(SHOP, wanted)
    assert "# as a path" in edited
    assert parse_service(edited, "") == wanted
    rest = without_components(spec, ["uploads"])
    assert (rest.refers_to, rest.order, len(rest.checks)) == ({}, ("db",), 3)
    assert len(without_components(spec, ["db"]).checks) == 2
    assert parse_service(revised(SHOP, rest), "") == rest


def _fields(spec: ServiceSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}

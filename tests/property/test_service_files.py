"""Whatever a service is: its file says the same, and edits of its file say what was wanted."""

from __future__ import annotations

import contextlib

from hypothesis import given, strategies as st

from knowngood.control.documents import parse_document
from knowngood.control.editing import revised
from knowngood.control.forms import read_service
from knowngood.control.services import parse_service, service_text
from knowngood.control.values import normal_path
from knowngood.core.errors import UsageError
from knowngood.core.model import ComponentSpec, Keep, Policy, ServiceSpec
from knowngood.core.sizes import parse_span, span_short

_names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
_text = st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"\0", b"0").decode("utf-8", "surrogateescape"))
_paths = _text.map(lambda text: normal_path("/" + text.replace("..", "__")))
_spans = st.one_of(st.integers(0, 10**9), st.integers(0, 10**6).map(lambda value: value / 4)).map(float)
_cadences = _spans.filter(lambda seconds: seconds == 0 or seconds >= 1)
components = st.builds(
    ComponentSpec,
    name=_names,
    kind=st.just("files"),
    path=_paths,
    exclude=st.lists(_text, max_size=3).map(tuple),
    exclude_caches=st.booleans(),
    one_file_system=st.booleans(),
)
policies = st.builds(
    Policy,
    keep=st.builds(Keep, any_moment=_spans, hourly=_spans, daily=_spans, weekly=_spans, monthly=_spans, yearly=_spans),
    undo=_spans,
    rpo=_cadences,
    points=_cadences,
)
services = st.builds(
    ServiceSpec,
    name=st.just("shop"),
    components=st.lists(components, min_size=1, max_size=4, unique_by=lambda each: each.name).map(tuple),
    policy=policies,
)


@given(services)
def test_files_say_what_the_service_is(service: ServiceSpec) -> None:
    """Also with names that are not UTF-8, and that look like something else to YAML."""
    assert parse_service(service_text(service), "") == service


@given(services, services)
def test_edits_say_what_was_wanted(before: ServiceSpec, after: ServiceSpec) -> None:
    """From any service to any other."""
    assert parse_service(revised(service_text(before), after), "") == after


_scraps = st.sampled_from(
    [b"service", b": ", b"shop", b"\n", b"  ", b"components", b"&a", b"*a", b"{", b"}", b"[", b"]", b"- ", b"<<", b"!!",
     b"'", b'"', b"|", b"\t", b"#", b"=", b"7d", b"keep", b"policy", b"kind: files", b"path: /x", b"\xff", b"\0", b"? "]
)  # fmt: skip


@given(st.lists(_scraps, max_size=30).map(b"".join), st.sampled_from(["yaml", "toml"]))
def test_any_bytes_are_a_service_or_a_usage_error(data: bytes, form: str) -> None:
    """Nothing that stands in a file ends in a traceback."""
    with contextlib.suppress(UsageError):
        read_service(parse_document(data, "f", form))


@given(_spans)
def test_spans_are_read_as_they_were_written(seconds: float) -> None:
    """Exactly."""
    assert parse_span(span_short(seconds)) == seconds

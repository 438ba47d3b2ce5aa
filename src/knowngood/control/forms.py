"""The forms of our files: which keys they may have, and what is said about a value that does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from knowngood.control.documents import Document, Location
from knowngood.control.rules import MOST_CHECKS, CheckForm, HooksForm, whole_problems
from knowngood.control.values import Cadence, Capture, Form, Name, Names, Path, Patterns, Span, Text, span, words, wrong
from knowngood.core.errors import KnowngoodError, UsageError
from knowngood.core.fit import did_you_mean, misfits
from knowngood.core.model import MAX_HOLD, ComponentSpec, Keep, Policy, ServiceSpec
from knowngood.core.sizes import span_short
from knowngood.core.traits import KindTraits

_FILES = "files"  # the kind whose keys are all listed in the form
_LONGEST_OPTION = 4096
_SHOWN_PROBLEMS = 8


class _Keep(Form):
    any_moment: Span = Keep().any_moment
    hourly: Span = Keep().hourly
    daily: Span = Keep().daily
    weekly: Span = Keep().weekly
    monthly: Span = Keep().monthly
    yearly: Span = Keep().yearly


def _hold(value: Any) -> float:
    seconds = span(value)
    if not 0 < seconds <= MAX_HOLD:
        raise wrong(
            f"'{value}' is not for how long writes can stand still", f"at most {span_short(MAX_HOLD)}, such as 0.2s"
        )
    return seconds


_Hold = Annotated[float, PlainValidator(_hold)]


class _Points(Form):
    """How often points are made: of whatever level (`any`), held, quiesced."""

    any: Cadence = Policy().points
    held: Cadence = Policy().held
    quiesced: Cadence = Policy().quiesced


def _points(value: Any) -> Any:
    """One span is how often points of whatever level are made."""
    return value if isinstance(value, dict) else {"any": value} if value is not None else {}


class _Policy(Form):
    keep: Annotated[_Keep, BeforeValidator(words)] = _Keep()
    undo: Span = Policy().undo
    rpo: Cadence = Policy().rpo
    rto: Cadence = Policy().rto
    points: Annotated[_Points, BeforeValidator(_points)] = _Points()
    drill: Cadence = Policy().drill
    hold: _Hold = Policy().hold

    def policy(self) -> Policy:
        """What it says."""
        return Policy(
            keep=Keep(**dict(self.keep)),
            undo=self.undo,
            rpo=self.rpo,
            points=self.points.any,
            held=self.points.held,
            quiesced=self.points.quiesced,
            rto=self.rto,
            drill=self.drill,
            hold=self.hold,
        )


class _Component(Form):
    """One component. What is not listed here is an option of its kind, which knows what it may be."""

    model_config = ConfigDict(extra="allow")

    kind: Text
    path: Path = ""
    exclude: Patterns = ()
    exclude_caches: bool = False
    one_file_system: bool = False
    capture: Capture = "auto"

    def component(self, name: str) -> ComponentSpec:
        """What it says."""
        return ComponentSpec(
            name=name,
            kind=self.kind,
            path=self.path,
            exclude=self.exclude,
            exclude_caches=self.exclude_caches,
            one_file_system=self.one_file_system,
            capture=self.capture,
            options={str(key): value for key, value in (self.model_extra or {}).items()},
        )


class _Service(Form):
    service: Name
    components: dict[Name, _Component] = Field(min_length=1, max_length=1000)
    refers_to: Annotated[dict[Name, Names], BeforeValidator(words)] = Field(default_factory=dict[str, tuple[str, ...]])
    order: Names = ()
    hooks: Annotated[HooksForm, BeforeValidator(words)] = HooksForm()
    checks: list[CheckForm] = Field(default_factory=list[CheckForm], max_length=MOST_CHECKS)
    policy: Annotated[_Policy, BeforeValidator(words)] = _Policy()


class _Config(Form):
    vault: Path | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration of a home. `vault` is a folder."""

    vault: str | None = None


SPANS = tuple(name for name in _Policy.model_fields if name not in ("keep", "points"))
"""What a policy promises beside its ladder and its points, each a span."""

POINTS = {"points": "points", "points.held": "held", "points.quiesced": "quiesced"}
"""How often points are made: the words for it, and where a policy has it."""

CADENCES = ("rpo", "rto", "drill", *POINTS)
"""Spans that are 0 or at least a second."""

RUNGS = tuple(name.replace("_", "-") for name in _Keep.model_fields)
"""The rungs of the ladder as they are written, finest first."""


def read_service(document: Document, *, kinds: Mapping[str, KindTraits] | None = None) -> ServiceSpec:
    """A document as a service. With `kinds`, components have to be of one of them, and what it asks for."""
    form = cast("_Service", _validated(_Service, document))
    components = tuple(each.component(name) for name, each in form.components.items())
    for component in components:
        _check_options(component, document)
        if kinds is not None:
            _check_kind(component, document, kinds)
    spec = ServiceSpec(
        name=form.service,
        components=components,
        policy=form.policy.policy(),
        refers_to=form.refers_to,
        order=form.order,
        hooks=form.hooks.hooks(),
        checks=tuple(each.check() for each in form.checks),
    )
    for location, problem, fix in whole_problems(spec):
        raise UsageError(f"{document.place(location)}: {problem}", hint=fix)
    return spec


def _check_options(component: ComponentSpec, document: Document) -> None:
    """Options are short text; of files there are none."""
    known = [name.replace("_", "-") for name in _Component.model_fields]
    for name, value in component.options.items():
        place = document.place(("components", component.name, name))
        if component.kind == _FILES:
            fix = did_you_mean(name, known) or f"keys that can stand here: {', '.join(known)}"
            raise UsageError(f"{place}: unknown key '{name}'", hint=fix)
        if not isinstance(value, str) or "\0" in value or len(value) > _LONGEST_OPTION:
            raise UsageError(f"{place}: '{name}' must be text", hint="put it in quotes")
    if component.kind == _FILES and not component.path:
        place = document.place(("components", component.name))
        raise UsageError(f"{place}: 'components.{component.name}.path' is missing", hint=_EXAMPLES["path"])


def _check_kind(component: ComponentSpec, document: Document, kinds: Mapping[str, KindTraits]) -> None:
    above: Location = ("components", component.name)
    traits = kinds.get(component.kind)
    if traits is None:
        hint = did_you_mean(component.kind, kinds) or f"kinds: {', '.join(sorted(kinds))}"
        raise UsageError(f"{document.place((*above, 'kind'))}: there is no kind '{component.kind}'", hint=hint)
    for each in misfits(component, traits):
        raise UsageError(f"{document.place((*above, each.key))}: {each.problem}", hint=each.fix)


def read_policy(document: Document) -> Policy:
    """A document that holds only what stands under `policy`."""
    return cast("_Policy", _validated(_Policy, document)).policy()


def read_config(document: Document) -> Config:
    """A document as the configuration of a home."""
    return Config(vault=cast("_Config", _validated(_Config, document)).vault)


def config_text(config: Config) -> str:
    """The configuration as YAML."""
    return yaml.safe_dump({"vault": config.vault} if config.vault else {}, allow_unicode=True)


# ------------------------------------------------------------------------------------------------------------ errors


def _validated(form: type[Form], document: Document) -> Form:
    try:
        return form.model_validate({} if document.data is None else document.data)
    except ValidationError as bad:
        raise _complaint(form, document, bad.errors(include_url=False)) from None


def _complaint(form: type[Form], document: Document, problems: list[ErrorDetails]) -> KnowngoodError:
    told = [_told(form, document, each) for each in problems]
    if len(told) == 1:
        (what, fix) = told[0]
        return UsageError(what, hint=fix)
    lines = [f"{what} ({fix})" if fix else what for what, fix in told[:_SHOWN_PROBLEMS]]
    if len(told) > _SHOWN_PROBLEMS:
        lines.append(f"and {len(told) - _SHOWN_PROBLEMS} more")
    return UsageError(f"{len(told)} problems in {document.source}\n" + "\n".join(f"  {line}" for line in lines))


def _told(form: type[Form], document: Document, problem: ErrorDetails) -> tuple[str, str]:
    """What is wrong, with its place, and the fix."""
    location = tuple(part for part in problem["loc"] if part != "[key]")
    name, kind = str(location[-1]) if location else "", problem["type"]
    place = document.place(location)
    context = problem.get("ctx", {})
    if kind == "knowngood":
        said = str(context["problem"])
        labelled = said if said.startswith(("'", "the path")) else f"'{_dotted(location)}' {said}"
        return f"{place}: {labelled}", str(context["fix"])
    if kind == "extra_forbidden":
        known = list(_known_keys(form, location[:-1]))
        fix = did_you_mean(name, known) or f"keys that can stand here: {', '.join(known)}"
        return f"{place}: unknown key '{name}'", fix
    if kind == "missing":
        return f"{place}: '{_dotted(location)}' is missing", _EXAMPLES.get(name, f"add '{name}: …'")
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        what = f"'{_dotted(location)}'" if location else "the file"
        return f"{place}: {what} must hold 'key: value' lines", _EXAMPLES.get(name, "")
    if kind == "bool_type":
        return f"{place}: '{_dotted(location)}' must be true or false", "without quotes"
    if kind == "too_short":
        return f"{place}: a service needs at least one component", _EXAMPLES["components"]
    return f"{place}: '{_dotted(location)}': {problem['msg']}", ""


_EXAMPLES = {
    "service": "add 'service: NAME'",
    "components": "add 'components: {uploads: {kind: files, path: /srv/shop/uploads}}'",
    "kind": "add 'kind: files'",
    "path": "add 'path: /srv/shop/uploads'",
}


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))


_INSIDE: dict[str, type[Form]] = {
    "policy": _Policy,
    "keep": _Keep,
    "points": _Points,
    "hooks": HooksForm,
    "checks": CheckForm,
}


def _known_keys(form: type[Form], location: Location) -> Iterator[str]:
    """The keys that may stand at a place of a form."""
    inside: Any = form
    for part in location:
        if inside is _Service and part == "components":
            inside = dict
        elif inside is dict:
            inside = _Component
        else:
            inside = _INSIDE.get(str(part), inside)
    for name in inside.model_fields:
        yield name.replace("_", "-")

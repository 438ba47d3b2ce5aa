"""Services as files: one per service in the home, written by commands or by hand."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import yaml

from knowngood.control.documents import MAX_BYTES, parse_document, read_document
from knowngood.control.files import copy_durably, make_folder, move_durably, read_bounded, write_durably
from knowngood.control.forms import read_service
from knowngood.control.home import Home
from knowngood.control.rules import rules_tree
from knowngood.control.values import name_problem, normal_path
from knowngood.core.errors import Exists, KnowngoodError, NotFound, UsageError
from knowngood.core.fit import did_you_mean
from knowngood.core.model import ComponentSpec, Keep, Policy, ServiceSpec
from knowngood.core.sizes import span_short

_SUFFIX = ".yaml"
_FORMER_KEPT = 50


@dataclass(frozen=True, slots=True)
class Broken:
    """A service file that cannot be read. Its service is not protected, and that must be seen."""

    name: str
    path: str
    error: KnowngoodError


@dataclass(frozen=True, slots=True)
class Listing:
    """The services of a home, by name, and the files that cannot be read."""

    services: tuple[ServiceSpec, ...]
    broken: tuple[Broken, ...] = ()


def service_path(home: Home, name: str) -> str:
    """Where a service's file is. Raises UsageError when this cannot be the name of a service."""
    if problem := name_problem(name):
        raise UsageError(problem)
    return os.path.join(home.services, name + _SUFFIX)


def load_service(path: str) -> ServiceSpec:
    """Read and check a service file anywhere, YAML or TOML."""
    return read_service(read_document(path))


def parse_service(text: str, source: str, form: str = "yaml") -> ServiceSpec:
    """Read and check the text of a service file."""
    return read_service(parse_document(text.encode(), source, form))


def list_services(home: Home) -> Listing:
    """Every service of a home. A file that cannot be read does not hide the others."""
    services: list[ServiceSpec] = []
    broken: list[Broken] = []
    try:
        names = sorted(each for each in os.listdir(home.services) if not each.startswith("."))
    except FileNotFoundError:
        names = []
    for file in names:
        path = os.path.join(home.services, file)
        name = file.removesuffix(_SUFFIX)
        try:
            if not file.endswith(_SUFFIX):
                raise UsageError(f"{path} is not read: its name does not end in {_SUFFIX}", hint=_hint_apply(path))
            services.append(_load_named(path, name))
        except KnowngoodError as wrong:
            broken.append(Broken(name, path, wrong))
    return Listing(tuple(services), tuple(broken))


def _hint_apply(path: str) -> str:
    return f"knowngood service apply {path}, then remove that file"


def get_service(home: Home, name: str) -> ServiceSpec:
    """One service of a home. Raises NotFound with the name that may have been meant."""
    path = service_path(home, name)
    if os.path.exists(path):
        return _load_named(path, name)
    known = _names(home)
    if not known:
        raise NotFound("there is no service yet", hint=f"knowngood service add {name} --files PATH")
    raise NotFound(
        f"there is no service '{name}'",
        hint=did_you_mean(name, known) or f"services: {', '.join(sorted(known)[:10])}",
    )


def find_service(home: Home, name: str) -> ServiceSpec | None:
    """One service of a home, None when there is none of this name."""
    return _load_named(path, name) if os.path.exists(path := service_path(home, name)) else None


def _names(home: Home) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [each.removesuffix(_SUFFIX) for each in os.listdir(home.services) if not each.startswith(".")]
    return []


def _load_named(path: str, name: str) -> ServiceSpec:
    return _named(read_bounded(path, MAX_BYTES), path, name)


@lru_cache(1024)
def _named(data: bytes, path: str, name: str) -> ServiceSpec:
    """From the content of its file. Whoever runs for long reads files anew each time, and parses those that changed."""
    document = parse_document(data, path, "yaml")
    spec = read_service(document)
    if spec.name != name:
        raise UsageError(
            f"{document.place(('service',))}: the service is called '{spec.name}' here, the file '{name}{_SUFFIX}'",
            hint=f"write 'service: {name}', or rename the file",
        )
    return spec


# ----------------------------------------------------------------------------------------------------------- writing


def service_tree(spec: ServiceSpec) -> dict[str, object]:
    """A service as its file holds it, spans in words."""
    return {
        "service": spec.name,
        "components": {each.name: component_tree(each) for each in spec.components},
        **rules_tree(spec),
        "policy": {
            "keep": {rung: span_short(length) for rung, length in spec.policy.keep.rungs()},
            **spans_tree(spec.policy),
        },
    }


def spans_tree(policy: Policy) -> dict[str, object]:
    """What a policy promises beside its ladder; what is not promised is left out."""
    stated = {"rpo": policy.rpo, "rto": policy.rto, "drill": policy.drill}
    if policy.hold != Policy().hold:
        stated["hold"] = policy.hold
    points = points_tree(policy)
    return {
        "undo": span_short(policy.undo),
        **{name: span_short(length) for name, length in stated.items() if length},
        **({"points": points} if points else {}),
    }


def points_tree(policy: Policy) -> str | dict[str, str] | None:
    """How often points are made: one span where nothing is said of levels; None where nothing is said at all."""
    stated = {"any": policy.points, "held": policy.held, "quiesced": policy.quiesced}
    found = {name: span_short(length) for name, length in stated.items() if length}
    return found.get("any", found) if found.keys() <= {"any"} and found else found or None


def service_text(spec: ServiceSpec) -> str:
    """A service as the YAML that people edit."""
    return yaml.safe_dump(service_tree(spec), sort_keys=False, allow_unicode=True, width=100)


def component_tree(component: ComponentSpec) -> dict[str, object]:
    """A component as it is written; what is at its default is left out."""
    tree: dict[str, object] = {"kind": component.kind}
    if component.path:
        tree["path"] = component.path
    if component.exclude:
        tree["exclude"] = list(component.exclude)
    if component.exclude_caches:
        tree["exclude-caches"] = True
    if component.one_file_system:
        tree["one-file-system"] = True
    if component.capture != "auto":
        tree["capture"] = component.capture
    return tree | component.options


def save_service(home: Home, spec: ServiceSpec, *, text: str | None = None) -> str:
    """Write a service's file; what stood there before is kept among the former ones. Returns its path.

    `text`, when given, is written as it is: comments stay. It must say the same as `spec`.
    """
    path = service_path(home, spec.name)
    text = service_text(spec) if text is None else text
    if parse_service(text, path) != spec:
        raise KnowngoodError(f"the text for {path} does not say what was asked for", hint="please report this")
    make_folder(home.services)
    if os.path.exists(path):
        copy_durably(path, _former_path(home, spec.name))
    write_durably(path, text.encode())
    return path


def remove_service(home: Home, name: str) -> str:
    """Take a service's file away. Returns where it is kept. Points are not touched. Raises NotFound."""
    path = service_path(home, name)
    if not os.path.exists(path):
        get_service(home, name)  # says what may have been meant
    former = _former_path(home, name)
    move_durably(path, former)
    return former


def _former_path(home: Home, name: str) -> str:
    """A new place for a former definition; the oldest beyond fifty are let go."""
    folder = os.path.join(home.former, name)
    make_folder(folder)
    for old in sorted(os.listdir(folder))[: -_FORMER_KEPT + 1]:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, old))
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return os.path.join(folder, f"{stamp}.{time.time_ns() % 10**9:09d}{_SUFFIX}")


# ------------------------------------------------------------------------------------------------------------- files


def with_files(
    service: ServiceSpec | None,
    name: str,
    paths: Iterable[str],
    *,
    exclude: Sequence[str] = (),
    exclude_caches: bool = False,
    one_file_system: bool = False,
) -> ServiceSpec:
    """A service, or a new one, with one more component of kind `files` per path. Raises Exists, UsageError."""
    if problem := name_problem(name):
        raise UsageError(problem)
    components = list(service.components if service else ())
    for path in paths:
        try:
            path = normal_path(path)
        except ValueError as wrong:
            raise UsageError(wrong.args[0], hint=wrong.args[1]) from None
        if same := next((each for each in components if each.path == path), None):
            raise Exists(
                f"{path} is already component '{same.name}' of service '{name}'",
                hint=f"knowngood service show {name}",
            )
        components.append(
            ComponentSpec(
                name=component_name(path, {each.name for each in components}),
                kind="files",
                path=path,
                exclude=tuple(exclude),
                exclude_caches=exclude_caches,
                one_file_system=one_file_system,
            )
        )
    if not components:
        raise UsageError("a service needs at least one path", hint=f"knowngood service add {name} --files PATH")
    if service is not None:
        return msgspec.structs.replace(service, components=tuple(components))
    return ServiceSpec(name=name, components=tuple(components), policy=Policy(keep=Keep()))


def without_components(service: ServiceSpec, gone: Collection[str]) -> ServiceSpec:
    """A service without some of its components, and all that is said about them."""
    refers_to = {
        name: rest
        for name, targets in service.refers_to.items()
        if name not in gone and (rest := tuple(each for each in targets if each not in gone))
    }
    return msgspec.structs.replace(
        service,
        components=tuple(each for each in service.components if each.name not in gone),
        refers_to=refers_to,
        order=tuple(each for each in service.order if each not in gone),
        checks=tuple(each for each in service.checks if each.component not in gone),
    )


def add_files(
    home: Home,
    name: str,
    paths: Iterable[str],
    *,
    exclude: Sequence[str] = (),
    exclude_caches: bool = False,
    one_file_system: bool = False,
) -> ServiceSpec:
    """Add folders or files to a service, which is created if need be, and save it."""
    spec = with_files(
        find_service(home, name),
        name,
        paths,
        exclude=exclude,
        exclude_caches=exclude_caches,
        one_file_system=one_file_system,
    )
    save_service(home, spec)
    return spec


def component_name(path: str, taken: Collection[str]) -> str:
    """A name for a component, made from the last part of its path; `-2`, `-3`… make it unique."""
    last = path.rstrip("/").rsplit("/", 1)[-1]
    stem = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).lstrip("._-").rstrip("-")[:59] or "root"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


# ---------------------------------------------------------------------------------------------------------- warnings


def warnings_about(spec: ServiceSpec) -> list[str]:
    """What is allowed in a service, and yet may not be what was meant."""
    found = []
    located = [each for each in spec.components if each.path]
    for inner in located:
        for outer in located:
            if inner.path == outer.path and inner.name < outer.name:
                found.append(f"components '{inner.name}' and '{outer.name}' are both {inner.path}")
            elif inner.path != outer.path and inner.path.startswith(outer.path.rstrip("/") + "/"):
                found.append(
                    f"component '{inner.name}' ({inner.path}) lies inside '{outer.name}' ({outer.path}):"
                    " it is read twice, and stored once"
                )
    return found + ladder_warnings(spec.policy.keep) + cadence_warnings(spec.policy)


def cadence_warnings(policy: Policy) -> list[str]:
    """Points that are made too rarely for what is promised."""
    if policy.rpo and policy.every >= policy.rpo and not policy.held:
        cadence, rpo = span_short(policy.every), span_short(policy.rpo)
        return [f"a point every {cadence} cannot keep 'rpo: {rpo}': making one takes time too"]
    return []


def ladder_warnings(keep: Keep) -> list[str]:
    """Rungs that keep nothing, because a finer one lasts as long."""
    found, finest, longest = [], "", 0.0
    for rung, length in keep.rungs():
        if 0 < length <= longest:
            found.append(f"'{rung}: {span_short(length)}' keeps nothing more than '{finest}: {span_short(longest)}'")
        elif length > longest:
            finest, longest = rung, length
    if not longest:
        found.append("every rung of the ladder is 0: only the newest point is kept")
    return found

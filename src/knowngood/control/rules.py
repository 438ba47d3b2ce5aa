"""What a service file says about its components together: what refers to what, order, hooks and checks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any

from pydantic import PlainValidator

from knowngood.control.documents import Location
from knowngood.control.values import Cadence, Form, Text, wrong
from knowngood.core.expect import expectation_problem
from knowngood.core.fit import did_you_mean
from knowngood.core.model import HOOKS, QUESTIONS, Check, Hooks, ServiceSpec
from knowngood.core.sizes import span_short

MOST_CHECKS = 200
_MOST_WORDS = 64
_LONGEST_WORD = 4096


def _command(value: Any) -> tuple[str, ...]:
    """A program and its arguments. No shell takes part: nothing in it is expanded."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and each for each in found):
        raise wrong(
            "must be the path of a program, or a list: the path and its arguments", "[/usr/local/bin/drain, -v]"
        )
    if len(found) > _MOST_WORDS or any(len(each) > _LONGEST_WORD or "\0" in each for each in found):
        raise wrong("is too long", "put it into a script, and name that")
    if not os.path.isabs(found[0]):
        raise wrong(f"'{found[0]}' is not an absolute path", "no shell runs it: name the program by its whole path")
    return tuple(found)


def _expected(value: Any) -> str:
    """Numbers and words may stand without quotes."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise wrong("must be text or a number", '"> 0"')
    text = str(value)
    if problem := expectation_problem(text):
        raise wrong(problem, '"> 0"')
    return text


def _script(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise wrong("must be the path of a script", "checks/orders.py, below the home")
    if ".." in value.split("/"):
        raise wrong(f"the path '{value}' holds '..'", "write where it leads to")
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("http://"):
        raise wrong(f"'{value}' is not an address of a web server", "http://127.0.0.1:8080/health")
    return value


_Command = Annotated[tuple[str, ...], PlainValidator(_command)]
_Expected = Annotated[str, PlainValidator(_expected)]
_Script = Annotated[str, PlainValidator(_script)]
_Address = Annotated[str, PlainValidator(_address)]


class HooksForm(Form):
    """Programs around a point and a recovery."""

    before_point: _Command = ()
    after_point: _Command = ()
    before_recover: _Command = ()
    after_recover: _Command = ()
    timeout: Cadence = Hooks().timeout

    def hooks(self) -> Hooks:
        """What it says."""
        return Hooks(**dict(self))


class CheckForm(Form):
    """One check: a question to a component, a script, or an address."""

    component: Text = ""
    ask: Text = ""
    sql: Text = ""
    command: Text = ""
    python: _Script = ""
    http: _Address = ""
    expect: _Expected = ""
    timeout: Cadence = Check().timeout

    def check(self) -> Check:
        """What it says. That it is one thing only is looked at later, where the line is known."""
        asked = [word for word in QUESTIONS if getattr(self, word)]
        word = asked[0] if asked else QUESTIONS[0]
        return Check(
            component=self.component,
            word=word,
            ask=getattr(self, word),
            python=self.python,
            http=self.http,
            expect=self.expect,
            timeout=self.timeout,
        )


def whole_problems(spec: ServiceSpec) -> Iterator[tuple[Location, str, str]]:
    """What does not fit together: where it stands, what is wrong, and the fix."""
    known = [each.name for each in spec.components]
    for name in spec.order:
        if name not in known:
            yield ("order",), *_unknown(name, known)
    for name, targets in spec.refers_to.items():
        for each in (name, *targets):
            if each not in known:
                yield ("refers-to", name), *_unknown(each, known)
    if circle := _circle(spec.refers_to):
        yield ("refers-to",), f"{' → '.join(circle)}: they refer to each other", "leave out the weaker one"
    for number, check in enumerate(spec.checks):
        yield from ((("checks", number), *each) for each in _check_problems(check, known))
    hooks = spec.hooks
    if not hooks.timeout and any(getattr(hooks, each) for each in HOOKS):
        yield ("hooks", "timeout"), "a hook needs an end", "write a span such as 30s"


def _unknown(name: str, known: Sequence[str]) -> tuple[str, str]:
    fix = did_you_mean(name, known) or f"components: {', '.join(known)}"
    return f"the service has no component '{name}'", fix


def _check_problems(check: Check, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    ways = [each for each in (check.ask, check.python, check.http) if each]
    if len(ways) != 1:
        fix = "one of: component with ask, sql or command; python; http"
        yield ("a check asks nothing" if not ways else "a check asks more than one thing"), fix
    if check.ask and not check.component:
        yield "a question needs a component that is asked", "add 'component: NAME'"
    if check.component and check.component not in known:
        yield _unknown(check.component, known)
    if not check.timeout:
        yield "a check needs an end", "write 'timeout: 30s'"


def _circle(refers_to: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Components that refer to each other in a circle; empty when there is none."""
    try:
        TopologicalSorter(refers_to).prepare()
    except CycleError as found:
        return tuple(reversed(found.args[1]))
    return ()


# ----------------------------------------------------------------------------------------------------------- writing


def rules_tree(spec: ServiceSpec) -> dict[str, object]:
    """These parts of a service as its file holds them; what is not stated is left out."""
    tree: dict[str, object] = {}
    if spec.refers_to:
        tree["refers-to"] = {name: list(targets) for name, targets in spec.refers_to.items()}
    if spec.order:
        tree["order"] = list(spec.order)
    if hooks := hooks_tree(spec.hooks):
        tree["hooks"] = hooks
    if spec.checks:
        tree["checks"] = [check_tree(each) for each in spec.checks]
    return tree


def hooks_tree(hooks: Hooks) -> dict[str, object]:
    """Hooks as they are written."""
    tree: dict[str, object] = {
        name.replace("_", "-"): list(command) for name in HOOKS if (command := getattr(hooks, name))
    }
    return tree | ({} if hooks.timeout == Hooks().timeout else {"timeout": span_short(hooks.timeout)})


def check_tree(check: Check) -> dict[str, object]:
    """A check as it is written."""
    stated = {
        "component": check.component,
        check.word: check.ask,
        "python": check.python,
        "http": check.http,
        "expect": check.expect,
        "timeout": "" if check.timeout == Check().timeout else span_short(check.timeout),
    }
    return {name: value for name, value in stated.items() if value}

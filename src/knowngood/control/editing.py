"""Small changes to a service file that leave its comments and its layout alone.

Each edit replaces a stretch of the text, found by the marks of the YAML parser. The result is parsed again and must
say exactly what was asked for; when it does not, or when the file is laid out in a way that is not foreseen here,
the file is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from knowngood.control.documents import compose
from knowngood.control.forms import SPANS
from knowngood.control.rules import rules_tree
from knowngood.control.services import component_tree, parse_service, points_tree, service_text
from knowngood.core.errors import KnowngoodError
from knowngood.core.model import Policy, ServiceSpec
from knowngood.core.sizes import span_short

_Edit = tuple[int, int, str]
"""Replace the text between two indexes."""


class _Unforeseen(Exception):
    """The file is laid out in a way that is not known here."""


def revised(text: str, wanted: ServiceSpec) -> str:
    """The text of a service file, changed so that it says `wanted`; comments stay where possible."""
    try:
        edited = _edited(text, wanted)
        if parse_service(edited, "") == wanted:
            return edited
    except (_Unforeseen, KnowngoodError, yaml.YAMLError):
        pass
    return service_text(wanted)


def _edited(text: str, wanted: ServiceSpec) -> str:
    root = _mapping(compose(text)[0])
    present = parse_service(text, "")
    components = _mapping(_value(root, "components"))
    gone = [each.name for each in present.components if wanted.component(each.name) != each]
    edits = [_without(text, components, name) for name in gone]
    fresh = [each for each in wanted.components if present.component(each.name) != each]
    new: dict[str, object] = {each.name: component_tree(each) for each in fresh}
    if new:
        edits.append(_with(text, components, new))
    if present.policy != wanted.policy:
        edits += _policy_edits(text, root, present.policy, wanted.policy)
    if rules_tree(present) != rules_tree(wanted):
        raise _Unforeseen  # no command changes them
    for start, end, instead in sorted(edits, reverse=True):
        text = text[:start] + instead + text[end:]
    return text


def _policy_edits(text: str, root: yaml.MappingNode, present: Policy, wanted: Policy) -> list[_Edit]:
    before = dict(present.keep.rungs())
    rungs = {rung: span_short(length) for rung, length in wanted.keep.rungs() if before[rung] != length}
    spans: dict[str, object] = {
        name: span_short(getattr(wanted, name)) for name in SPANS if getattr(wanted, name) != getattr(present, name)
    }
    if points_tree(present) != points_tree(wanted):
        spans["points"] = points_tree(wanted) or "0d"
    if _find(root, "policy") is None:
        return [_with(text, root, {"policy": {**({"keep": rungs} if rungs else {}), **spans}})]
    policy = _mapping(_value(root, "policy"))
    edits = _set_values(text, policy, spans)
    if not rungs:
        return edits
    if _find(policy, "keep") is None:
        return [*edits, _with(text, policy, {"keep": rungs})]
    return edits + _set_values(text, _mapping(_value(policy, "keep")), rungs)


def _set_values(text: str, mapping: yaml.MappingNode, values: Mapping[str, object]) -> list[_Edit]:
    edits: list[_Edit] = []
    missing: dict[str, object] = {}
    for key, value in values.items():
        node = _find(mapping, key)
        if node is None:
            missing[key] = value
        elif not isinstance(node, yaml.ScalarNode) and not (isinstance(node, yaml.MappingNode) and node.flow_style):
            raise _Unforeseen
        else:
            edits.append((_start(node), _stop(node), _inline(value)))
    return [*edits, _with(text, mapping, missing)] if missing else edits


def _inline(value: object) -> str:
    return value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True, sort_keys=False).strip()


# ------------------------------------------------------------------------------------------------------------- nodes


def _mapping(node: yaml.Node | None) -> yaml.MappingNode:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise _Unforeseen
    return node


def _find(mapping: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in mapping.value if name.value == key), None)


def _value(mapping: yaml.MappingNode, key: str) -> yaml.Node:
    node = _find(mapping, key)
    if node is None:
        raise _Unforeseen
    return node


def _start(node: yaml.Node) -> int:
    return node.start_mark.index


def _stop(node: yaml.Node) -> int:
    """Where a node's own text ends. A block collection's mark lies behind the comments that follow it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _stop(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _stop(node.value[-1])
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        raise _Unforeseen
    return node.end_mark.index


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _with(text: str, mapping: yaml.MappingNode, new: dict[str, object]) -> _Edit:
    """Add keys at the end of a mapping, in its own style."""
    if mapping.flow_style:
        inside = yaml.safe_dump(new, default_flow_style=True, sort_keys=False, width=10**6).strip()
        at = mapping.value[-1][1].end_mark.index
        return at, at, ", " + inside.removeprefix("{").removesuffix("}")
    column = mapping.value[0][0].start_mark.column
    at = _line_end(text, _stop(mapping))
    flow = None if any(isinstance(value, dict) for value in new.values()) else False
    block = yaml.safe_dump(new, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=10**6)
    lines = "".join(" " * column + line + "\n" for line in block.splitlines())
    return at, at, lines if not at or text[at - 1] == "\n" else "\n" + lines


def _without(text: str, mapping: yaml.MappingNode, key: str) -> _Edit:
    """Take a key and its value out of a block mapping, by whole lines."""
    if mapping.flow_style:
        raise _Unforeseen
    name, value = next(pair for pair in mapping.value if pair[0].value == key)
    start = text.rfind("\n", 0, _start(name)) + 1
    if text[start : _start(name)].strip():
        raise _Unforeseen
    return start, _line_end(text, _stop(value)), ""

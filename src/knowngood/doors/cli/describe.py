"""Services and their parts in a few words."""

from __future__ import annotations

from knowngood.core.model import ComponentSpec, Policy
from knowngood.core.sizes import span_short


def kept_text(policy: Policy) -> str:
    """`any-moment 48h, hourly 7d`: the rungs that keep something."""
    rungs = [f"{rung} {span_short(length)}" for rung, length in policy.keep.rungs() if length]
    return ", ".join(rungs) or "the newest point"


def promise_text(policy: Policy) -> str:
    """`at most 5m are lost: a point is made every 150s`."""
    made = f"a point is made every {span_short(policy.every)}" if policy.every else "points are made by hand only"
    return f"at most {span_short(policy.rpo)} are lost: {made}" if policy.rpo else f"no rpo is promised: {made}"


def rehearsal_texts(policy: Policy) -> list[str]:
    """What else is promised, a line for each: levels of points, the time of a recovery, drills."""
    stated = [
        (policy.held, "a held point is made every {}"),
        (policy.quiesced, "a quiesced point is made every {}"),
        (policy.rto, "recovery takes at most {}"),
        (policy.drill, "a recovery is rehearsed every {}"),
    ]
    return [words.format(span_short(length)) for length, words in stated if length]


def options_text(component: ComponentSpec) -> str:
    """`without *.tmp, one file system`: what differs from taking everything."""
    options = [f"without {pattern}" for pattern in component.exclude]
    options += ["without caches"] if component.exclude_caches else []
    options += ["one file system"] if component.one_file_system else []
    options += [f"capture {component.capture}"] if component.capture != "auto" else []
    return ", ".join(options)


def component_text(component: ComponentSpec) -> str:
    """`uploads: files /srv/shop/uploads (without *.tmp)`."""
    options = options_text(component)
    return f"{component.name}: {component.kind} {component.where}" + (f" ({options})" if options else "")

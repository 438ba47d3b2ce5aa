"""docs/json.md is the contract: what commands print with --json has exactly the fields that are described there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knowngood.control.up.events import Event, What
from knowngood.core import errors
from knowngood.core.errors import ExitStatus, KnowngoodError
from knowngood.core.model import Point
from knowngood.core.progress import Progress
from knowngood.doors.cli.app import load
from knowngood.doors.cli.commands.up import event_shape
from knowngood.doors.cli.failures import PIPE_CLOSED
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.progress import watch
from knowngood.doors.cli.registry import COMMANDS
from knowngood.flow.protect import Protected
from tests.house.contract import described, differences, sections, seen
from tests.house.verbs import MORE, VERBS, WITHOUT_DOCUMENT, Documents, play
from tests.user import in_process

# ------------------------------------------------------------------------------------------------- real outputs


class Machine:
    """A home with services, one of them broken."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.file = folder / "shop.yaml"
        self.file.write_text(
            "service: shop\n"
            "components: {a: {kind: files, path: /srv/a, exclude: ['*.tmp']}, b: {kind: files, path: /srv/b},\n"
            "  c: {kind: files, path: /srv/c}}\n"
            "refers-to: {a: [b]}\norder: [a]\nhooks: {before-point: /bin/true}\n"
            "checks: [{component: a, ask: x, expect: '1'}]\n"
        )

    def __call__(self, words: str) -> Any:
        """The document of a command."""
        answer = in_process(["--home", str(self.home), "--json", *words.replace("FILE", str(self.file)).split()])
        assert (answer.status, answer.err) == (0, ""), answer
        return answer.json


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Ready for every example below."""
    machine = Machine(tmp_path)
    machine("service apply FILE")
    (machine.home / "services" / "bad.yaml").write_text("service: bad\n")
    return machine


EXAMPLES = {
    "service add": [
        "service add mail --files /srv/m --exclude *.o --one-file-system --dry-run",
        "service add shop --files /srv/m --exclude-caches",
        "service add mail --files /srv/m",
    ],
    "service apply": ["service apply FILE", "policy set shop hourly=0", "service apply FILE"],
    "service remove": [
        "service add shop --files /srv/m",
        "service remove shop --component c",
        "service remove shop --dry-run",
        "service remove shop",
    ],
    "service show": ["service show shop"],
    "policy show": ["policy show shop"],
    "policy set": [
        "policy set shop hourly=14d --dry-run",
        "policy set shop hourly=1.5h any-moment=0 undo=1s rpo=5m points=1m",
    ],
    "policy simulate": ["policy simulate shop --days 3", "policy simulate --every 1d --set yearly=10y --days 0.5"],
}
"""Commands whose documents, together, have every field that is described."""


@pytest.mark.parametrize("title", EXAMPLES)
def test_documents_are_as_described(title: str, machine: Machine) -> None:
    """The same fields, of the same types; and every described one does occur."""
    rows = described(title)
    there: set[str] = set()
    for words in EXAMPLES[title]:
        document = machine(words)
        if document["document"] == title:
            assert list(differences(rows, document)) == [], words
            there |= set(seen(document))
    assert set(rows) - there == set(), "described, and never seen"


NEVER = {f"adopted[].change.service.hooks[].{each}" for each in ("when", "command")}
"""Programs that the vault names are not taken over."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """What commands that work on a vault answered."""
    return play(tmp_path_factory.mktemp("play"))


@pytest.mark.parametrize("title", sorted(VERBS | MORE))
def test_documents_of_verbs_are_as_described(title: str, played: Documents) -> None:
    """The same; a field that is null here is filled elsewhere in the play."""
    rows = described(title)
    assert [line for document in played[title] for line in differences(rows, document)] == []
    there = {field for document in played[title] for field in seen(document)}
    assert set(rows) - there - NEVER == set(), "described, and never seen"


@pytest.mark.parametrize("title", sorted(WITHOUT_DOCUMENT))
def test_commands_without_a_document_refuse(title: str, tmp_path: Path) -> None:
    """Rather than to write something else where a document is expected."""
    answer = in_process(["--home", str(tmp_path), title, "shop", "path", "--json"])
    assert (answer.status, answer.raw, answer.error["code"]) == (2, b"", "usage")


def _leaves(command: Any, words: str) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if not below:
        yield words
        return
    if command.invoke_without_command:
        yield words
    for name, each in below.items():
        yield from _leaves(each, f"{words} {name}")


def test_every_command_has_a_section() -> None:
    """And every section of a command has examples."""
    commands = {words for name in COMMANDS for words in _leaves(load(name), name)}
    titles = set(sections())
    assert commands - titles == set()
    assert commands == {*EXAMPLES, *VERBS, *WITHOUT_DOCUMENT}


def test_errors_are_as_described(machine: Machine) -> None:
    """The line on standard error; every code stands in the table."""
    answer = in_process(["--home", str(machine.home), "service", "show", "shp", "--json"])
    (line,) = answer.err.splitlines()
    rows, text = sections()["Error"]
    assert list(differences(rows, json.loads(line))) == []
    codes = {each.code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, KnowngoodError)}
    listed = re.search(r"`error\.code` \| string \| (.*) \|", text)
    assert listed
    assert set(re.findall(r"`([\w-]+)`", listed[1])) == codes | {"interrupted", "unexpected"}


def test_events_are_as_described(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines on standard error."""
    progress = Progress(total_bytes=10)
    with watch(progress, Output(), events=True):
        progress.enter("reading")
        progress.bytes = 5
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [each["event"] for each in lines] == ["phase", "progress", "end"]
    assert [each for line in lines for each in differences(sections()["Events"][0], line)] == []


def test_events_of_up_are_as_described() -> None:
    """Those that tell of a point, and those that tell of something else."""
    made = Protected(Point(**_POINT, status="recoverable"), (), 0)
    for event in (Event(what=What.POINT, service="shop", protected=made, seconds=1.5), Event(what=What.STOPPED)):
        assert list(differences(sections()["up"][0], event_shape(event))) == []
    assert set(re.findall(r"`(\w+)`", sections()["up"][1].split("| `event` | string | ")[1].split("|")[0])) == set(What)


_POINT: dict[str, Any] = {
    "id": b"i" * 16,
    "service_label": b"l" * 16,
    "service": "shop",
    "marks": (),
    "level": "L0",
    "moment_ns": 2,
    "started_ns": 1,
    "evidence": {},
}


def test_exit_statuses_are_as_described() -> None:
    """All of them, and no others."""
    listed = {int(each) for each in re.findall(r"^\| (\d+) \|", sections()["Exit statuses"][1], re.MULTILINE)}
    known = {value for name, value in vars(ExitStatus).items() if name.isupper()}
    assert listed == known | {PIPE_CLOSED}


def test_the_comparison_notices() -> None:
    """A field too many, one too few, a wrong type, a null."""
    rows = {"a": "string", "b[].c": "integer or null", "d": "list of string", "e": "object or null", "e.f": "moment"}
    good = {"a": "x", "b": [{"c": 1}, {"c": None}], "d": ["y"], "e": {"f": "2026-11-20T14:02:07.350000000Z"}}
    assert list(differences(rows, good)) == []
    assert list(differences(rows, {**good, "e": None})) == []
    for bad in (
        {**good, "z": 1},
        {key: good[key] for key in "abd"},
        {**good, "a": None},
        {**good, "a": 1},
        {**good, "b": [{"c": True}]},
        {**good, "b": [{}]},
        {**good, "b": {"c": 1}},
        {**good, "d": [1]},
        {**good, "e": {"f": "today"}},
        {**good, "e": "x"},
    ):
        assert list(differences(rows, bad)), bad

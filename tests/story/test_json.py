"""A program drives everything: one document per command, nothing beside it, and errors that can be read as well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.story.shop import build_shop, ruin
from tests.user import User


class Program(User):
    """Somebody who reads nothing but JSON."""

    def calls(self, *words: str | Path, status: int = 0) -> Any:
        """The document of a command of the installed program, and nothing else."""
        answer = self.types("--json", *words, status=status)
        assert answer.err == ""
        return answer.json

    def fails(self, *words: str | Path, status: int) -> dict[str, Any]:
        """The error of a command: one line, and no document."""
        answer = self.types("--json", *words, status=status)
        assert answer.raw == b""
        (line,) = answer.err.splitlines()
        error = json.loads(line)["error"]
        assert error["exit_status"] == status
        return error


@pytest.mark.slow
def test_the_whole_way(tmp_path: Path) -> None:
    """From nothing to a recovered service, in the real program."""
    shop, program = build_shop(tmp_path / "shop"), Program(tmp_path)
    kit = program.calls("init", "--vault", program.vault, "--no-passphrase")
    assert len(kit["recovery_key"].split("-")) == 14
    program.calls("service", "add", "shop", "--files", shop)
    made = program.calls("protect", "shop", "--name", "evening")
    assert (made["problems"], made["point"]["name"]) == ([], "evening")
    ruin(shop)
    program.calls("protect", "shop")
    first, second = (each["id"] for each in reversed(program.calls("points", "shop")["points"]))
    assert program.calls("diff", "shop")["from"] == first
    plan = program.calls("recover", "shop", "--at", "evening", "--delete", "--dry-run")
    done = program.calls("recover", "shop", "--at", first, "--delete")
    assert plan["plans"] == done["plans"]
    assert (done["deleted"], done["problem_count"]) == (plan["plans"][0]["delete"], 0)
    assert program.calls("expire", "shop", second)["points"] == [second]
    assert program.calls("undo", "shop", second)["point"] == second
    assert program.calls("tidy")["expired"] == []
    assert program.calls("vault", "check", "--read-data")["findings"] == []
    assert program.calls("vault", "rebuild")["points"] == 2
    assert not any(each["grave"] for each in program.calls("doctor")["findings"])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """With a vault and a service, and no point."""
    program = Program(tmp_path_factory.mktemp("json"))
    program.begins("shop", program.folder)
    return program


ERRORS: dict[str, tuple[Sequence[str], int, str]] = {
    "a word that is none": (("protekt", "shop"), 2, "usage"),
    "an option that is none": (("protect", "shop", "--nmae", "x"), 2, "usage"),
    "a service that is none": (("protect", "shp"), 4, "not-found"),
    "points of no service": (("points", "shp"), 4, "not-found"),
    "no point yet": (("recover", "shop"), 4, "not-found"),
    "no moment": (("ls", "shop", "--at", "whenever"), 2, "usage"),
    "no point of that id": (("ls", "shop", "x", "--at", "deadbeef"), 4, "not-found"),
    "no size": (("vault", "reserve", "much"), 2, "usage"),
    "no such file": (("vault", "keys", "rotate", "--new-passphrase-file", "/nowhere"), 4, "not-found"),
    "a vault again": (("init", "--no-passphrase"), 1, "exists"),
    "both": (("init", "--passphrase-file", "x", "--no-passphrase"), 2, "usage"),
    "delete and path": (("recover", "shop", "--delete", "--path", "x"), 2, "usage"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str, program: Program) -> None:
    """A code for programs, a sentence and the next step for people."""
    words, status, code = ERRORS[name]
    error = program.fails(*words, status=status)
    assert error["code"] == code
    assert error["message"]
    assert error["hint"]
    assert error["retry"] == "never"


def test_events_stand_beside(program: Program, tmp_path: Path) -> None:
    """With --events, progress comes on standard error, a line each."""
    other = Program(tmp_path)
    other.begins("shop", build_shop(tmp_path / "shop"))
    answer = other.types("--json", "--events", "protect", "shop")
    assert answer.json["document"] == "protect"
    events = [json.loads(line) for line in answer.err.splitlines()]
    phases = [each["phase"] for each in events if each["event"] == "phase"]
    assert phases == ["reading shop", "landing shop", "committing"]
    assert events[-1]["event"] == "end"
    assert events[-1]["bytes"] > 5_000_000

"""How the program starts, understands its words, and ends."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import knowngood as package
from knowngood.control.home import Home
from knowngood.core import errors
from knowngood.core.errors import ExitStatus, KnowngoodError
from knowngood.doors.cli import app as program
from knowngood.doors.cli.commands import service
from knowngood.doors.cli.failures import PIPE_CLOSED, report
from knowngood.doors.cli.output import Output
from knowngood.doors.cli.registry import COMMANDS
from knowngood.doors.cli.session import Session
from knowngood.plugins import PLUGINS
from tests.unit.cli.runner import Runner

_PROGRAM = [sys.executable, "-m", "knowngood"]


def broken_by(monkeypatch: pytest.MonkeyPatch, wrong: BaseException) -> None:
    """`knowngood service list` ends this way."""

    def fail(_: Home) -> None:
        raise wrong

    monkeypatch.setattr(service, "list_services", fail)


# ------------------------------------------------------------------------------------------------------------- start


def test_version_loads_next_to_nothing() -> None:
    """It starts fast because tables, YAML, forms and commands are not imported (`python -X importtime`)."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *_PROGRAM[1:], "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout == f"knowngood {package.__version__}\n"
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert loaded & {"knowngood.doors.cli.app", "typer"}
    heavy = {"rich", "pydantic", "yaml", "asyncio", "sqlite3", "cryptography"}
    assert not {each for each in loaded if each in heavy or each.startswith("knowngood.doors.cli.commands.")}


def test_version_is_nothing_else() -> None:
    """The package has no other attribute that is looked up late."""
    with pytest.raises(AttributeError):
        _ = package.nothing


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads(name: str, knowngood: Runner) -> None:
    """And has help, for itself and for what is below it."""
    assert knowngood(name, "--help").status == 0
    command = program.load(name)
    for below, each in getattr(command, "commands", {name: command}).items():
        assert each.help, f"{name} {below} has no help"
        names = [param.name for param in each.params]
        assert len(names) == len(set(names))
        assert {"home", "json", "quiet", "events"} <= set(names)


def test_help(knowngood: Runner) -> None:
    """Of the program and of groups, without loading commands; asking for nothing is a usage error."""
    for words, status in (((), 2), (("--help",), 0), (("-h",), 0)):
        result = knowngood(*words)
        assert result.status == status
        assert all(name in result.out for name in COMMANDS)
    group = knowngood("service")
    assert (group.status, group.err) == (2, "")
    assert "apply" in group.out


# ------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "service", "list"),
        ("service", "--json", "list"),
        ("service", "list", "--json"),
        ("--json", "service", "list", "--quiet"),
    ],
)
def test_global_options_stand_anywhere(words: tuple[str, ...], knowngood: Runner) -> None:
    """Before and after commands."""
    assert knowngood.ok(*words).json["document"] == "service list"


def test_home_option(knowngood: Runner, tmp_path: Path) -> None:
    """It beats the variable; the last one counts."""
    other = str(tmp_path / "other")
    knowngood.ok("service", "--home", other, "add", "shop", "--files", str(tmp_path))
    assert os.path.exists(f"{other}/services/shop.yaml")
    assert not knowngood.home.exists()
    shown = knowngood.ok("--home", str(tmp_path / "nowhere"), "service", "show", "shop", f"--home={other}", "--json")
    assert shown.json["path"] == f"{other}/services/shop.yaml"


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (("servce",), "no such command 'servce'. Did you mean 'service', 'serve'?", "knowngood --help"),
        (("service", "lst"), "no such command 'lst'. Did you mean 'list'?", "knowngood service --help"),
        (("service", "list", "--jsn"), "no such option: --jsn", "knowngood service list --help"),
        (("service", "show"), "missing argument 'SERVICE'", "knowngood service show --help"),
        (("policy", "simulate", "--days", "x"), "invalid value for '--days'", "knowngood policy simulate --help"),
    ],
)
def test_words_that_are_not_understood(words: tuple[str, ...], said: str, hint: str, knowngood: Runner) -> None:
    """What is wrong and where to read on; as JSON if --json stands anywhere."""
    human = knowngood(*words)
    assert (human.status, human.out) == (2, "")
    assert human.err.startswith(f"error: {said}")
    assert human.err.endswith(f"next: {hint}\n")
    error = knowngood(*words, "--json").error
    assert (error["code"], error["exit_status"]) == ("usage", 2)
    assert said in error["message"]


def test_a_value_may_look_like_an_option(knowngood: Runner) -> None:
    """Behind `--` everything is a name."""
    answer = knowngood("service", "show", "--", "--json")
    assert answer.err.startswith("error: '--json' is not a name here")


# -------------------------------------------------------------------------------------------------------------- ends


def _tree(kind: type[KnowngoodError] = KnowngoodError) -> list[type[KnowngoodError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _tree(below))]


@pytest.mark.parametrize("kind", [each for each in _tree() if each.__module__ == errors.__name__])
def test_errors_of_ours(kind: type[KnowngoodError], knowngood: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What, what next, and the status of its kind."""
    broken_by(monkeypatch, kind("it broke", hint="mend it"))
    human = knowngood("service", "list")
    assert (human.status, human.out, human.err) == (kind.exit_status, "", "error: it broke\nnext: mend it\n")
    result = knowngood("service", "list", "--json")
    assert result.status == kind.exit_status
    assert result.error == {
        "code": kind.code,
        "message": "it broke",
        "hint": "mend it",
        "retry": str(kind.retry),
        "exit_status": kind.exit_status,
    }


@pytest.mark.parametrize("wrong", [KeyboardInterrupt(), typer.Abort()])
def test_interrupted(wrong: BaseException, knowngood: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A friendly line."""
    broken_by(monkeypatch, wrong)
    result = knowngood("service", "list")
    assert result.status == ExitStatus.INTERRUPTED
    assert result.err == "error: interrupted\nnext: run the same command again to go on\n"


def test_unexpected_errors_are_written_down(knowngood: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for the user, the rest in the home, for its owner only."""
    Home.at(str(knowngood.home)).create()
    broken_by(monkeypatch, ValueError("first\nsecond"))
    result = knowngood("service", "list")
    assert result.status == 1
    assert result.err.startswith("error: unexpected ValueError: first\nnext: the details are in ")
    assert "Traceback" not in result.err
    (details,) = (knowngood.home / "errors").iterdir()
    assert str(details) in result.err
    text = details.read_text()
    assert f"command: knowngood --home {knowngood.home} service list\n" in text
    assert "ValueError: first\nsecond" in text
    assert details.stat().st_mode & 0o777 == 0o600


def test_unexpected_errors_without_a_home(knowngood: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No home is made for them."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    broken_by(monkeypatch, OSError(errno.EPIPE, "a pipe of ours, not standard output"))
    result = knowngood("service", "list", "--json")
    assert result.status == 1
    assert str(tmp_path / "tmp") in result.error["hint"]
    assert not knowngood.home.exists()


def test_help_that_nobody_reads_to_its_end() -> None:
    """What typer prints past us into a pipe that closed is no error: it ends as if by SIGPIPE."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        err = io.StringIO()
        session = Session([])
        session.out = Output(stdout=pipe, stderr=err)
        pipe.write("help")
        assert report(BrokenPipeError(), session) == PIPE_CLOSED
    assert err.getvalue() == ""


def test_old_details_are_let_go(knowngood: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty are enough, and files of others are left."""
    folder = knowngood.home / "errors"
    folder.mkdir(parents=True)
    for number in range(60):
        (folder / f"knowngood-2000{number:04}.txt").touch()
    (folder / "mine.txt").touch()
    broken_by(monkeypatch, ValueError("x"))
    knowngood("service", "list")
    assert len(list(folder.glob("knowngood-*.txt"))) == 50
    assert (folder / "mine.txt").exists()


def test_details_that_cannot_be_written(knowngood: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then that is said."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc/nowhere")
    broken_by(monkeypatch, ValueError("x"))
    assert "the details could not be written" in knowngood("service", "list").err


class _Full(io.StringIO):
    """A standard output that takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def flush(self) -> None:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("words", [("service", "list"), ("service", "show", "nope"), ("--version",)])
def test_a_reader_that_went_away(words: tuple[str, ...], knowngood: Runner) -> None:
    """Quiet, with the status of SIGPIPE; a real pipe, since Python flushes once more at its end."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*_PROGRAM, *words, "--home", str(knowngood.home)], check=False, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    if words[-1] == "nope":
        assert (done.returncode, done.stderr.count(b"\n")) == (ExitStatus.NOT_FOUND, 2)
    else:
        assert (done.returncode, done.stderr) == (141, b"")


def test_an_answer_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk behind `>` is an error like any other."""
    error = io.StringIO()
    monkeypatch.setattr(sys, "stdout", _Full(errno.ENOSPC))
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(Home, "exists", lambda _: False)
    assert program.run(["service", "list", "--json", "--home", "/nonexistent"], PLUGINS) == ExitStatus.NO_SPACE
    assert json.loads(error.getvalue())["error"]["code"] == "no-space"


def test_entry_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with the status."""
    monkeypatch.setattr(sys, "argv", ["knowngood", "servce"])
    with pytest.raises(SystemExit) as caught:
        program.main(PLUGINS)
    assert caught.value.code == 2
    assert "servce" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("knowngood ser", ["service", "serve"]),
        ("knowngood service ", ["add", "apply", "discover", "list", "show", "adopt", "remove"]),
        ("knowngood service show ", ["mail", "shop"]),
        ("knowngood policy set s", ["shop"]),
        ("knowngood service list --q", ["--quiet"]),
    ],
)
def test_completion(
    words: str,
    offered: list[str],
    knowngood: Runner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Commands, options and names of services, as bash asks for them."""
    for name in ("shop", "mail"):
        knowngood.ok("service", "add", name, "--files", "/srv")
    environment = {
        "KNOWNGOOD_HOME": str(knowngood.home),
        "_KNOWNGOOD_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        program.main(PLUGINS)
    assert caught.value.code == 0
    assert capsys.readouterr().out.split() == offered

"""Commands against one home, for tests of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.user import Answer, in_process


@dataclass(frozen=True)
class Runner:
    """Runs `knowngood WORDS` in this process, as a script would: nobody is at a terminal."""

    home: Path

    def __call__(self, *words: str) -> Answer:
        """Run a command, however it ends."""
        return in_process(["--home", str(self.home), *words])

    def ok(self, *words: str) -> Answer:
        """Run a command that has to succeed."""
        answer = self(*words)
        assert answer.status == 0, answer
        return answer

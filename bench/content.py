"""Seeded makers of file content: text, logs, JSON, HTML, half-random and random bytes.

Nothing here reads the clock or the system's randomness: the same seed gives the
same bytes on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate

_LETTERS = "eeeeeetttttaaaaoooooiiiinnnnsssshhhrrrddlllcuummwwffggyyppbbvk"
_WORDS = 20_000
_PHRASES = 50_000


class Content:
    """Makes content from one vocabulary, which is itself made from a fixed seed."""

    def __init__(self, seed: int = 1) -> None:
        rng = random.Random(f"vocabulary:{seed}")
        words = ["".join(rng.choices(_LETTERS, k=rng.randint(2, 11))) for _ in range(_WORDS)]
        weights = list(accumulate(1.0 / (rank + 3) for rank in range(_WORDS)))
        self._phrases = [
            " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(2, 6))) for _ in range(_PHRASES)
        ]
        self._words = words

    def _body(self, rng: random.Random, size: int, joint: str) -> str:
        """Phrases put together by ``joint`` until there are at least ``size`` characters."""
        average = 22 + len(joint)
        parts: list[str] = []
        length = 0
        while length < size:
            more = rng.choices(self._phrases, k=max(1, (size - length) // average + 1))
            parts.extend(more)
            length += sum(map(len, more)) + len(joint) * len(more)
        return joint.join(parts)

    def text(self, rng: random.Random, size: int) -> bytes:
        """Prose: phrases ended by full stops and line ends."""
        return self._body(rng, size, ".\n").encode()[:size]

    def log(self, rng: random.Random, size: int) -> bytes:
        """Log lines with a rising time stamp, a level and a request number."""
        stamp = rng.randint(1_500_000_000, 1_600_000_000)
        source = rng.choice(self._words)
        lines: list[str] = []
        length = 0
        while length < size:
            stamp += rng.randint(0, 30)
            level = rng.choice(("INFO", "INFO", "INFO", "WARN", "ERROR"))
            number = rng.getrandbits(32)
            tail = "; ".join(rng.choices(self._phrases, k=3))
            lines.append(f"{stamp}.{number % 1000:03d} {level} {source}[{number:08x}] {tail}\n")
            length += len(lines[-1])
        return "".join(lines).encode()[:size]

    def json(self, rng: random.Random, size: int) -> bytes:
        """A list of small records, each with a number, a name and a note."""
        keys = rng.sample(self._words, 3)
        rows: list[str] = []
        length = 0
        while length < size:
            one, two, three = rng.choices(self._phrases, k=3)
            rows.append(
                f'{{"{keys[0]}": {rng.getrandbits(40)}, "{keys[1]}": "{one}", "{keys[2]}": ["{two}", "{three}"]}},\n'
            )
            length += len(rows[-1])
        return "".join(rows).encode()[:size]

    def html(self, rng: random.Random, size: int) -> bytes:
        """Paragraphs in the usual mark-up."""
        name = rng.choice(self._words)
        joint = f'</p>\n<p class="{name}">'
        return ("<html><body><p>" + self._body(rng, size, joint)).encode()[:size]

    def half(self, rng: random.Random, size: int) -> bytes:
        """Half random bytes, half text, in turns of 512 bytes."""
        turns = size // 1024 + 1
        prose = self._body(rng, turns * 512, " ").encode()
        noise = rng.randbytes(turns * 512)
        steps = range(0, turns * 512, 512)
        return b"".join(noise[at : at + 512] + prose[at : at + 512] for at in steps)[:size]

    def noise(self, rng: random.Random, size: int) -> bytes:
        """Random bytes, which no codec makes smaller."""
        return rng.randbytes(size)

    def mixed(self, rng: random.Random, size: int) -> bytes:
        """One file of a mix: 70 % compressible kinds, 15 % half, 15 % random."""
        makers: tuple[Callable[[random.Random, int], bytes], ...] = (
            self.text, self.log, self.json, self.html, self.half, self.noise,
        )  # fmt: skip
        return rng.choices(makers, weights=(25, 15, 15, 15, 15, 15))[0](rng, size)

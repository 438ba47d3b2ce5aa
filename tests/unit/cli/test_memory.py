"""What was needed for something large is given back: seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
from knowngood.doors.memory import give_memory_back, keep_freed_memory, look_for_cycles_seldom

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

keep_freed_memory()
look_for_cycles_seldom()
before = resident()
large = [bytes(5000) for _ in range(20_000)]
kept = bytes(5000)  # above all of it: the heap cannot shrink
del large
freed = resident()
give_memory_back()
print(freed - before > 50e6, resident() - before < 20e6)
"""


def test_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]

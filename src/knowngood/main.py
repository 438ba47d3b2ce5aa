"""The program: plugins and the command line put together."""

from __future__ import annotations

from knowngood.doors.cli import app
from knowngood.doors.memory import keep_freed_memory, look_for_cycles_seldom
from knowngood.plugins import PLUGINS


def main() -> None:
    """The entry point of `knowngood`."""
    keep_freed_memory()
    look_for_cycles_seldom()
    app.main(PLUGINS)


if __name__ == "__main__":
    main()

"""`python -m knowngood`."""

from __future__ import annotations

from knowngood.main import main

main()

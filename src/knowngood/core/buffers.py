"""What counts as bytes."""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview
"""Anything that native codecs read without a copy."""

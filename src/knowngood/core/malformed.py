"""What a decoder of MessagePack raises for bytes that are no record: more than one error, found by strange input."""

import msgspec

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Of another form; text that is no UTF-8; lists in lists in lists."""

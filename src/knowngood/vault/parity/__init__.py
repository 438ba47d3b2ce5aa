"""Parity: objects from which lost and damaged ones come back (docs/format.md, section Parity)."""

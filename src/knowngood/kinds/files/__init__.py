"""Folders and files: everything that a Linux tree holds."""

from knowngood.kinds.files.kind import FilesKind

__all__ = ["FilesKind"]

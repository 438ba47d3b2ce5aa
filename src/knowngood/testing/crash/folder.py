"""Lays images down in a folder, one after the other, and touches only what differs from the one before."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from knowngood.testing.crash.disk import Disk, Image

_COMPARE_EVERY = 400


class Stage:
    """A folder in which images are shown. Whoever looks at one says what he changed there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, bytes] = {}
        self._folders: set[str] = set()
        self._touched: set[str] = set()
        self._shown = 0
        root.mkdir(parents=True, exist_ok=True)

    def touch(self, paths: Iterable[str]) -> None:
        """These files were made, changed or removed since the image was shown."""
        self._touched.update(paths)

    def show(self, image: Image) -> None:
        """Make the folder what the image says."""
        self._forget_touched()
        for path in self._files.keys() - image.files.keys():
            os.unlink(self.root / path)
            del self._files[path]
        for path in sorted(self._folders - image.folders, key=len, reverse=True):
            os.rmdir(self.root / path)
        for path in sorted(image.folders - self._folders, key=len):
            os.mkdir(self.root / path, 0o700)
        self._folders = set(image.folders)
        for path, content in image.files.items():
            if self._files.get(path) != content:
                with open(self.root / path, "wb") as file:
                    file.write(content)
                self._files[path] = content
        self._shown += 1
        if self._shown % _COMPARE_EVERY == 1:
            self._compare(image)

    def _forget_touched(self) -> None:
        for path in self._touched:
            self._files.pop(path, None)
            (self.root / path).unlink(missing_ok=True)
        for folder in {os.path.dirname(path) for path in self._touched}:
            self._forget_folder(folder)
        self._touched.clear()

    def _forget_folder(self, folder: str) -> None:
        """One that was made for what was touched."""
        while folder and folder not in self._folders:
            try:
                os.rmdir(self.root / folder)
            except OSError:
                return
            folder = os.path.dirname(folder)

    def _compare(self, image: Image) -> None:
        found = Disk(self.root).now()
        assert (found.files, found.folders) == (image.files, image.folders), "the folder is not what it should show"

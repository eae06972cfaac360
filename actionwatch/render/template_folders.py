"""Find the files of templates: the operator's folder, whose texts can be replaced, and the shipped one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.files import file_state
from actionwatch.text.yaml_document import read_bounded

SUFFIX = ".j2"


class TemplateFolders:
    """Folders of templates; the first one that has a name wins. A changed file is read again at its next use."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.texts: Mapping[str, str] | None = None
        """Texts by file name that replace the first folder, if there are any."""

    def has(self, name: str) -> bool:
        """Return whether a folder has the template of a name (`email.html`)."""
        return any(self.is_in(folder, f"{name}{SUFFIX}") for folder in self.paths)

    def is_in(self, folder: Path, file: str) -> bool:
        """Return whether one of the folders has a file."""
        if self.texts is not None and folder == self.paths[0]:
            return file in self.texts
        return os.path.lexists(folder / file)  # report what is not a file, such as a broken link

    def find(self, first: Path, file: str) -> tuple[str, str, Callable[[], bool]] | None:
        """Return the text of a template in one of the folders or those after it, its path, and whether it is still so.

        Raises: ConfigError, if it cannot be read.
        """
        folders = self.paths[self.paths.index(first) :]
        folder = next((each for each in folders if file.endswith(SUFFIX) and self.is_in(each, file)), None)
        if folder is None:
            return None
        path = folder / file
        texts = self.texts
        if texts is not None and folder == self.paths[0]:
            text = texts.get(file, "")
            return text, str(path), lambda: (self.texts or {}).get(file) == text
        state = _state(path)
        return read_bounded(path, folder), str(path), lambda: _state(path) == state


def read_texts(folder: Path) -> tuple[dict[str, str], list[Fault]]:
    """Read the templates of a folder. Return the texts by file name, and an error for each unreadable file."""
    texts: dict[str, str] = {}
    faults: list[Fault] = []
    for path in files_of(folder):
        try:
            texts[path.relative_to(folder).as_posix()] = read_bounded(path, folder)
        except ConfigError as exc:
            faults += exc.faults
    return texts, faults


def files_of(folder: Path) -> list[Path]:
    """List the templates except in hidden folders: a mounted ConfigMap keeps a copy of its files in one."""
    found = folder.glob(f"**/*{SUFFIX}") if folder.is_dir() else ()
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _state(path: Path) -> tuple[int, ...]:
    try:
        return file_state(path.stat())
    except OSError:
        return ()

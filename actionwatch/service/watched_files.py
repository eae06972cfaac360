"""Find out whether the files of rules, lists and templates have changed since they were loaded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from actionwatch.base.files import file_states

LOOK_SECONDS = 0.4  # with the reading, well within the second that a change may take
_QUIET_SECONDS = 0.05  # a file that is being written, or several being replaced, change again within it


class WatchedFiles:
    """The files in some folders."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self.loaded: Mapping[str, tuple[int, ...]] = {}
        """The states of the files that were loaded last."""

    def states(self) -> Mapping[str, tuple[int, ...]]:
        """Return the state of each file, which differs once the file has changed."""
        return file_states(self._folders)

    def are_changed(self) -> bool:
        """Return whether any file changed, after they stopped changing."""
        found = self.states()
        if found == self.loaded:
            return False
        deadline = time.monotonic() + LOOK_SECONDS
        while time.monotonic() < deadline:
            time.sleep(_QUIET_SECONDS)
            before, found = found, self.states()
            if found == before:
                break
        return found != self.loaded

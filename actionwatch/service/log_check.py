"""Report that lines of the log are dropped."""

from __future__ import annotations

from actionwatch.base.errors import ActionwatchError
from actionwatch.base.plurals import counted
from actionwatch.text.log_writer import WRITER


class LogCheck:
    """Counts the lines that were dropped since the check before."""

    def __init__(self) -> None:
        self._known_count = WRITER.dropped_count

    def run_once(self) -> None:
        """Fail if lines were dropped since the last time.

        Raises: ActionwatchError.
        """
        count = WRITER.dropped_count - self._known_count
        self._known_count += count
        if count:
            raise ActionwatchError(
                f"{counted(count, 'line')} of the log dropped, because whatever reads standard error does not keep up"
            )

"""rich's console for everything that people read on a terminal. Import it late: rich is large."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from actionwatch.text.escaping import visible


class TerminalConsole(Console):
    """rich's console, except that no text moves the cursor, and that a broken pipe raises an error instead of exiting."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape control and bidirectional characters in every text; the control codes of rich itself stay."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError that is being handled."""
        raise

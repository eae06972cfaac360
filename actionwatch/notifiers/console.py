"""Console: print alerts as compact cards on a terminal, or as plain lines into a pipe. `actionwatch demo` uses it."""

from __future__ import annotations

import io
import sys
from threading import Lock
from typing import TextIO

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.notifiers.base import Notifier, Traits
from actionwatch.text import options as words

TRAITS = Traits(is_read_by_people=True)

_PIPE_WIDTH = 2_000  # a pipe has no width; whole lines suit grep

_LOCK = Lock()  # shared by all console receivers, because they share one terminal


class Options(words.Options):
    """The keys of a `console:` receiver: none."""


def build(options: Options, *, receiver: str, stream: TextIO | None = None) -> ConsoleNotifier:  # noqa: ARG001
    """`stream` defaults to standard output."""
    return ConsoleNotifier(stream)


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:
    """Return the card as printed into a pipe, without colours."""
    stream = io.StringIO()
    build(options, receiver=receiver, stream=stream).send(message, rendered, None)
    return {"console.txt": stream.getvalue()}


class ConsoleNotifier(Notifier):
    """Prints cards to a stream, one at a time. The stream stays open: the process owns it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        # Import rich with the first message: commands that only read the configuration do not need it.
        from actionwatch.notifiers._card import Card
        from actionwatch.text.terminal import TerminalConsole

        try:
            with _LOCK:
                # Look up standard output each time: a progress bar, a test or a daemon may have replaced it.
                console = TerminalConsole(file=self._stream or sys.stdout, highlight=False, markup=False, emoji=False)
                if not console.is_terminal:
                    console.width = _PIPE_WIDTH
                console.print(Card(message, console.encoding))
        except (BrokenPipeError, ValueError) as exc:  # ValueError: I/O operation on closed file
            raise PermanentDeliveryError("the console is closed") from exc
        except OSError as exc:
            raise TransientDeliveryError(f"cannot write to the console: {exc.strerror}") from exc
        return Receipt()

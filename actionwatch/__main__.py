"""The entry of the command, as `actionwatch` and as `python -m actionwatch`."""

import os
import signal
from types import FrameType

_INTERRUPTED = 130
_IMPORTING = "<frozen importlib._bootstrap>"


def main() -> None:
    """Run the command."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell lets background processes ignore it
        signal.signal(signal.SIGINT, _interrupt)
    from actionwatch.cli import main as run

    run()


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Take Ctrl-C: end at once during an import, where libraries turn a KeyboardInterrupt into other errors."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTING:
            os._exit(_INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

"""Count the calls that something needs: a measure of its cost that is the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


def count_calls(run: Callable[[], object], *functions: Callable[..., object]) -> int:
    """Count the beginnings and the ends of calls while something runs; of `functions`, only how often they are called."""
    codes = {function.__code__ for function in functions}
    count = 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        count += not codes or (event == "call" and frame.f_code in codes)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count

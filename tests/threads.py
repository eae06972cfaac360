"""Threads as a service starts them, and unexpected exceptions raised in them."""

from __future__ import annotations

import ctypes
import selectors
import sys
import threading
from collections.abc import Callable

_WAITS = (threading.__file__, selectors.__file__)


def start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    """Start a thread with a name."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def raise_in_thread(name: str, function: str, error: type[BaseException]) -> bool:
    """Raise an exception in the thread with a name if it waits in a function. Return whether it does.

    The thread raises it when it wakes up. An exception while it starts a thread could make it hang.
    """
    for thread in threading.enumerate():
        if thread.name == name and _is_waiting_in(thread, function):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error))
            return True
    return False


def _is_waiting_in(thread: threading.Thread, function: str) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None or frame.f_code.co_filename not in _WAITS:
        return False
    while frame is not None and frame.f_code.co_filename in _WAITS:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_name == function

"""Unexpected exceptions, raised in other threads."""

from __future__ import annotations

import ctypes
import sys
import threading


def raise_in_thread(name: str, error: type[BaseException]) -> None:
    """Raise an exception in the thread with a name, at any point."""
    found = [thread.ident for thread in threading.enumerate() if thread.name == name]
    for ident in found:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident or 0), ctypes.py_object(error))


def is_waiting_in(name: str, function: str) -> bool:
    """Return whether the thread with a name waits in a function. An exception while it starts a thread could make it hang."""
    for thread in threading.enumerate():
        if thread.name == name:
            frame = sys._current_frames().get(thread.ident or 0)
            waits = frame is not None and frame.f_code.co_filename == threading.__file__
            while frame is not None and frame.f_code.co_filename == threading.__file__:
                frame = frame.f_back
            return waits and frame is not None and frame.f_code.co_name == function
    return False

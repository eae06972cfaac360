"""Exceptions raised in other threads, as nobody expects them."""

from __future__ import annotations

import ctypes
import threading


def strike(name: str, error: type[BaseException]) -> None:
    """Raise an exception in the thread of a name, wherever it is."""
    found = [thread.ident for thread in threading.enumerate() if thread.name == name]
    for ident in found:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident or 0), ctypes.py_object(error))

"""Make the C library return the memory that a process has freed."""

from __future__ import annotations

import ctypes

# The parameters of mallopt(3), from glibc's malloc.h.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_MAX_ARENAS = 2
_LARGE_BYTES = 128 * 1024


def return_large_blocks() -> None:
    """Return each large block to the operating system once it is freed, and let all threads share two arenas.

    By default, glibc gives each thread an arena, and after the first large block takes such blocks from there too. What a
    thread needed once, for a page of records or a saved state, then stays between smaller blocks that live long: the resident
    memory of a service grows in steps, for hours. Other C libraries have no such parameters, and keep what they do.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _MAX_ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)

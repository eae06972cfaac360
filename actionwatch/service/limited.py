"""Run a command of actionwatch for the service, with limits: `python -m actionwatch.service.limited PARENT COMMAND…`.

The limits stay when the command replaces this program: low priority, memory, time, and the end of the service.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

MAX_BYTES = 384 * 1024 * 1024
LONGEST_SECONDS = 50  # then the kernel ends the process
_NICE = 10
_OOM_SCORE = "500"
_PR_SET_PDEATHSIG = 1  # prctl(2): the kernel ends the process with the thread that started it


def main() -> None:
    """Set the limits and become the command."""
    parent, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended meanwhile
        return
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(_NICE)
    with contextlib.suppress(OSError):  # the kernel ends it before the service
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
    signal.alarm(LONGEST_SECONDS)
    os.execv(sys.executable, [sys.executable, "-P", "-m", "actionwatch", *arguments])  # noqa: S606  # nosec B606


if __name__ == "__main__":
    main()

"""The command for shells: `python -I -S warm_client.py DESCRIPTOR ARGUMENTS` asks the warm process for a process that runs it.

The descriptor is that of the socket of `tests/forked.py`. See `tests/warm_process.py` for messages and reports.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main() -> int:
    """Let the process have the streams of this one. Return its exit status."""
    descriptor, *arguments = sys.argv[1:]
    message = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ), "clock": ""}  # noqa: PTH109
    reader, writer = os.pipe()
    with socket.socket(fileno=int(descriptor)) as channel:
        socket.send_fds(channel, [json.dumps(message).encode()], [0, 1, 2, writer])
    os.close(writer)
    with os.fdopen(reader) as report:
        name, number = report.read().split()[-2:]
    return int(number) if name == "exit" else 1


if __name__ == "__main__":
    sys.exit(main())

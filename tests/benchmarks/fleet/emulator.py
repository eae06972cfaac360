"""The process of an emulator of many organisations, which notes when the log of each was read."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actionwatch.emulator.app import create_app
from actionwatch.emulator.fleet import create_fleet, sources_of
from actionwatch.emulator.server import serve_forever

RECORDS_EVERY = timedelta(minutes=1)
READS = "/_reads"


class _Noting:
    """The emulator, and a note of each request for a log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._reads: dict[str, list[tuple[float, bool]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path == READS:
            await JSONResponse(self._reads)(scope, receive, send)
            return
        if not path.endswith("/user-actions"):
            await self._app(scope, receive, send)
            return
        at, organisation = time.monotonic(), path.split("/")[3]

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._reads.setdefault(organisation, []).append((at, message["status"] == 200))
            await send(message)

        await self._app(scope, receive, noting)


def _serve(count: int, sources: Path) -> None:
    first, *others = members = create_fleet(count, RECORDS_EVERY)
    app = create_app(first.organisation, user_name=first.user_name, api_key=first.api_key, others=others)

    def announce(url: str) -> None:
        sources.touch(mode=0o600)
        sources.write_text(sources_of(members, url))
        print(url, flush=True)

    serve_forever(_Noting(app), announce=announce)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]))

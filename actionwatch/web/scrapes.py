"""The route of the metrics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actionwatch.store.database import Database


def metrics_routes(
    database: Database,
    sources: Collection[str],
    clock: Callable[[], datetime],
    dropped_groups: Callable[[], int] = lambda: 0,
) -> list[Route]:
    """Build the route with the metrics of these sources. The first scrape imports metrics.py."""

    @functools.cache
    def scraper() -> Callable[[], Response]:
        from actionwatch.web.metrics import make_scraper

        return make_scraper(database, sources, clock, dropped_groups)

    def metrics(_: Request) -> Response:
        return scraper()()

    return [Route("/metrics", metrics)]

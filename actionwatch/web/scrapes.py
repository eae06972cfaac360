"""Where metrics are scraped."""

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
    """Make the route, which tells of these sources; metrics.py, which answers, is imported with the first scrape."""

    @functools.cache
    def scraper() -> Callable[[], Response]:
        from actionwatch.web.metrics import make_scraper

        return make_scraper(database, sources, clock, dropped_groups)

    def metrics(_: Request) -> Response:
        return scraper()()

    return [Route("/metrics", metrics)]

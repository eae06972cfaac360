"""Health for machines: `/healthz` (the process lives) and `/readyz` (it sees the upstream and moves alerts on)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import StoreError
from actionwatch.store import polls
from actionwatch.store.database import Database

MISSED_POLLS = 5  # a source is stale after so many poll intervals without a good poll


def health_routes(
    database: Database,
    intervals: Mapping[str, timedelta],
    workers: Callable[[], Mapping[str, bool]],
    ages: Callable[[], Mapping[str, timedelta | None]],
    step_reasons: Callable[[], Iterable[str]] = lambda: (),
) -> list[Route]:
    """Make the two routes. `intervals` are the sources' poll intervals; `workers` says which threads live.

    `ages` gives how long ago each source's last poll ended, None before this process polled it: no stamp of the store can tell,
    since clocks can be set. `step_reasons` describes each step of the service that keeps failing or hangs.
    """

    def healthz(_: Request) -> Response:
        dead = sorted(name for name, is_alive in workers().items() if not is_alive)
        return JSONResponse({"status": "dead" if dead else "ok", "dead": dead}, status_code=503 if dead else 200)

    def readyz(_: Request) -> Response:
        reasons = [*_unready(database, intervals, ages()), *step_reasons()]
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def _unready(database: Database, intervals: Mapping[str, timedelta], ages: Mapping[str, timedelta | None]) -> list[str]:
    try:
        with database.read() as connection:
            known = polls.read_all(connection)
    except StoreError as exc:
        return [str(exc)]
    reasons = [] if database.write_failure is None else [f"the store cannot be written: {database.write_failure}"]
    for name, interval in intervals.items():
        poll, age = known.get(name), ages.get(name)
        if poll is None or age is None:
            reasons.append(f"source {name}: not polled yet")
        elif poll.failures:
            polls_failed = "the last poll failed" if poll.failures == 1 else f"the last {poll.failures} polls failed"
            reasons.append(f"source {name}: {polls_failed}; the log says why")
        elif age > interval * MISSED_POLLS:
            reasons.append(f"source {name}: last polled {spell_duration(age)} ago")
    return reasons

"""Whether actionwatch sees everything, and what needs a person."""

from __future__ import annotations

from actionwatch.store import marks, polls, record_counts
from actionwatch.text.payloads import instant
from actionwatch.web.api.documents import SourceStatus, StatusDocument, time
from actionwatch.web.api.routing import WHOLE, AtOnce, open_router
from actionwatch.web.reading import read_state

router = open_router()


@router.get("/status", **WHOLE)
def get_status(parts: AtOnce) -> StatusDocument:
    """Report whether actionwatch sees everything, and what needs attention."""
    unready = list(parts.unready())
    with parts.database.read() as connection:
        state = read_state(connection, parts, unready)
        known, asked = marks.read_all(connection), polls.read_all(connection)
        counts = record_counts.count_by_source(connection)
    verdict = state.verdict
    return {
        "is_seeing": verdict.is_seeing,
        "seeing": verdict.seeing,
        "is_quiet": verdict.is_quiet,
        "needs": verdict.needs,
        "unready": unready,
        "open_alerts": {level.word: count for level, count in state.open_counts.items()},
        "sources": [_source(name, known.get(name), asked.get(name), counts.get(name, 0)) for name in parts.sources],
        "receivers": [
            {
                "name": each.name,
                "type": each.destination.type if each.destination else None,
                "pending": each.queue.pending,
                "dead": each.queue.dead,
                "last_sent": time(each.health.last_sent_at),
                "failing_since": time(each.health.failing_since),
                "last_error": each.health.last_error,
            }
            for each in state.receivers
        ],
        "troubles": [
            {
                "trouble": each.trouble,
                "subject": each.subject,
                "since": instant(each.since),
                "what": each.what,
                "remedy": each.remedy,
                "alert": each.alert_id,
            }
            for each in state.troubles
        ],
    }


def _source(name: str, mark: marks.Marks | None, poll: polls.Poll | None, count: int) -> SourceStatus:
    return {
        "name": name,
        "mark": time(mark.mark) if mark else None,
        "seen_through": time(mark.seen_through) if mark else None,
        "proved_through": time(mark.proved_through) if mark else None,
        "last_poll": time(poll.last_poll_at) if poll else None,
        "records": count,
    }

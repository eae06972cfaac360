"""The status as a document: whether actionwatch sees everything, and everything that needs a person."""

from __future__ import annotations

from actionwatch.queries.status import read_state
from actionwatch.text.payloads import instant
from actionwatch.web.api.documents import StatusDocument, time
from actionwatch.web.api.routing import WHOLE, AtOnce, open_router

router = open_router()


@router.get("/status", **WHOLE)
def get_status(parts: AtOnce) -> StatusDocument:
    """Report whether actionwatch sees everything, and what needs attention."""
    unready = list(parts.service.unready())
    with parts.database.read() as connection:
        state = read_state(
            connection, parts.configuration.sources(), parts.configuration.receivers, unready, parts.clock()
        )
    verdict = state.verdict
    return {
        "is_seeing": verdict.is_seeing,
        "sight": verdict.sight.value,
        "seeing": verdict.seeing,
        "is_quiet": verdict.is_quiet,
        "needs": verdict.needs,
        "unready": unready,
        "open_alerts": {level.word: count for level, count in state.open_counts.items()},
        "sources": [{**each.document(), "state": state.healths[each.name].value} for each in state.sources],
        "receivers": [
            {
                "name": each.name,
                "type": each.configured.type if each.configured else None,
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

"""Each gate alone: a table of inputs and reasons. Also the order of the gates."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from msgspec import structs

from actionwatch.alerts.inhibition import InhibitRule, Labelled
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.silences import make_silence
from actionwatch.base.delivery import ESCALATION, READDRESSED
from actionwatch.base.model import Event, Level, Status
from actionwatch.delivery.gates import GATES, GateContext, decide
from actionwatch.delivery.lifecycle import Collapse, Hold, Suppress
from actionwatch.text.crontab import parse_crontab
from actionwatch.text.matchers import parse_matcher
from tests.builders import NOON, QUARTER, make_alert, make_delivery
from tests.cases import in_one_test
from tests.integration.delivery.kit import NIGHTS

HOUR = timedelta(hours=1)
LABELS = {"rule": "cluster_deleted", "userName": "eve", "level": "high"}
SILENCE = make_silence(["userName=eve"], "sam", "planned", NOON - HOUR, NOON + HOUR, made_at=NOON)
SOURCE = Labelled(make_alert("source", realert=QUARTER), {"rule": "big", "userName": "eve"})
INHIBIT = InhibitRule((parse_matcher("rule=big"),), (parse_matcher("rule=cluster_deleted"),), ("userName",))
DIGEST = ReceiverPolicy(digest=parse_crontab("0 8 * * *"))


def context(event: Event = Event.OPENED, **changes: Any) -> GateContext:
    """Make the context of a message that passes every gate."""
    delivery = make_delivery(event=event, **changes.pop("row", {}))
    alert = make_alert(**changes.pop("alert", {}))
    plain = GateContext(
        delivery, event, alert, LABELS, event is not Event.OPENED, NOON, ReceiverPolicy(), GlobalPolicy()
    )
    return structs.replace(plain, **changes)


SILENCED: dict[str, Any] = {"silences": [SILENCE]}
INHIBITED: dict[str, Any] = {"global_policy": GlobalPolicy((INHIBIT,)), "inhibitors": [SOURCE]}
MUTED: dict[str, Any] = {
    "global_policy": GlobalPolicy((), {"nights": NIGHTS}),
    "row": {"mutes": ("nights",)},
    "now": NOON + 11 * HOUR,
}
LOW: dict[str, Any] = {"policy": ReceiverPolicy(min_level=Level.CRITICAL)}
STORM: dict[str, Any] = {"policy": ReceiverPolicy(storm=Storm(30)), "passed_count": 30}
ESCALATING: dict[str, Any] = {"row": {"ordinal": ESCALATION}}

TABLE: list[tuple[str, GateContext, str | None]] = [
    ("nothing", context(), None),
    ("silence", context(**SILENCED), f"silence {SILENCE.id}"),
    ("silence, update", context(Event.UPDATED, **SILENCED), f"silence {SILENCE.id}"),
    ("silence, notified receiver gets the resolve", context(Event.RESOLVED, **SILENCED), None),
    ("silence, notified receiver gets the acknowledgement", context(Event.ACKED, **SILENCED), None),
    ("silence of others", context(labels={"userName": "bob"}, **SILENCED), None),
    ("silence yet to come", context(now=NOON - 2 * HOUR, **SILENCED), None),
    ("silence starts now", context(now=NOON - HOUR, **SILENCED), f"silence {SILENCE.id}"),
    ("silence ended now", context(now=NOON + HOUR, **SILENCED), None),
    ("inhibition", context(**INHIBITED), "inhibition source"),
    ("inhibition, end", context(Event.RESOLVED, **INHIBITED), None),
    ("inhibition, acknowledged", context(Event.ACKED, **INHIBITED), None),
    ("inhibition, other user", context(labels={"rule": "cluster_deleted", "userName": "bob"}, **INHIBITED), None),
    ("inhibition, other rule", context(labels={"rule": "x", "userName": "eve"}, **INHIBITED), None),
    ("mute", context(**MUTED), "mute nights"),
    ("mute, update", context(Event.UPDATED, **MUTED), "mute nights"),
    ("mute, end", context(Event.RESOLVED, **MUTED), None),
    ("mute, acknowledged", context(Event.ACKED, **MUTED), None),
    ("mute, day", context(**{**MUTED, "now": NOON}), None),
    ("mute, removed from the configuration", context(**{**MUTED, "global_policy": GlobalPolicy()}), None),
    ("min_level", context(**LOW), "min_level critical"),
    ("min_level, reached", context(alert={"level": Level.CRITICAL}, **LOW), None),
    ("min_level, end", context(Event.RESOLVED, **LOW), None),
    ("min_level, sent here by a person", context(**LOW, row={"why": READDRESSED}), None),
    ("storm", context(**STORM), "collapse"),
    ("storm, one less", context(**{**STORM, "passed_count": 29}), None),
    ("storm, update", context(Event.UPDATED, **STORM), None),
    ("storm, off", context(passed_count=1000), None),
    ("digest", context(policy=DIGEST), "hold"),
    ("digest, end", context(Event.RESOLVED, policy=DIGEST), "hold"),
    ("digest, acknowledged", context(Event.ACKED, policy=DIGEST), "hold"),
    ("digest, copy", context(policy=DIGEST, row={"fallback_of": "x"}), "hold"),
    ("copy, silence", context(**SILENCED, row={"fallback_of": "x"}), None),
    ("copy, storm", context(**STORM, row={"fallback_of": "x"}), None),
    ("untold", context(Event.RESOLVED, is_notified=False), "untold None"),
    (
        "untold, sent here by a person",
        context(Event.RESOLVED, is_notified=False, row={"why": READDRESSED}),
        None,
    ),
    ("untold copy", context(Event.RESOLVED, is_notified=False, row={"fallback_of": "x"}), "untold None"),
    ("escalation", context(**ESCALATING), None),
    ("escalation, acked", context(alert={"status": Status.ACKED, "acked_by": "sam"}, **ESCALATING), "acked sam"),
    ("escalation, over", context(alert={"status": Status.RESOLVED, "resolved_by": "x"}, **ESCALATING), "resolved x"),
    ("acked, no escalation", context(alert={"status": Status.ACKED, "acked_by": "sam"}), None),
    ("silence before inhibition", context(**SILENCED, **INHIBITED), f"silence {SILENCE.id}"),
    ("inhibition before mute", context(**{**MUTED, **INHIBITED, "now": NOON}), "inhibition source"),
    (
        "min_level before storm",
        context(policy=ReceiverPolicy(Level.CRITICAL, Storm(1)), passed_count=5),
        "min_level critical",
    ),
    ("storm before digest", context(policy=replace(DIGEST, storm=Storm(1)), passed_count=1), "collapse"),
]


@in_one_test(("found", "expected"), [row[1:] for row in TABLE])
def test_each_gate_stops_only_its_messages(found: GateContext, expected: str | None) -> None:
    """Each gate stops the messages that it should, and no others."""
    match decide(found):
        case None:
            action = None
        case Suppress(by, ref):
            action = f"{by} {ref}"
        case Collapse(until):
            action = "collapse"
            assert until == NOON + timedelta(seconds=10)
        case Hold(until):
            action = "hold"
            assert until == NOON + 20 * HOUR
    assert action == expected


def test_gates_are_evaluated_in_the_documented_order() -> None:
    """The order of the list is the order of the contract, before the rate."""
    names = [gate.decide.__name__ for gate in GATES]
    assert names == ["not_notified", "handled", "silence", "inhibition", "mute", "min_level", "storm", "digest"]


def test_only_silence_and_mute_are_summarised_at_their_end() -> None:
    """Messages stopped by inhibition or `min_level` are never reported later."""
    decisions = [decide(context(**some)) for some in (SILENCED, MUTED, INHIBITED, LOW)]
    awaits = [decision.awaits for decision in decisions if isinstance(decision, Suppress)]
    assert awaits == ["silence", "mute", None, None]

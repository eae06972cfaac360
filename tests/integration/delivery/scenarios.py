"""Scenarios of deliveries as text: what happens, and what each receiver has got by then.

    A note about a resolved alert sends nothing
        match, send, resolve by sam, 11s, note by sam: a test, 1m
        hook: opened x1, resolved x1
        history of noted: by sam: a test

The first line is the sentence that is false when the scenario fails. The others happen in their order: lines with a name and a
colon compare, all others are actions, which `ACTIONS` has. A span is a time that passes, after which what is due is sent, by a
process that starts and ends. `a | b; c` makes two scenarios: one with a, one with b and c. In all of them a message with an id
that was sent before is the same as before.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Self

from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.durations import parse_duration
from actionwatch.base.errors import TransientDeliveryError
from actionwatch.base.model import Decision, Escalation, Level, Message
from actionwatch.delivery import dead_letters
from actionwatch.delivery.attempt import LEASE
from actionwatch.store import delivery_transitions, silences
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.text.crontab import parse_crontab
from actionwatch.text.matchers import parse_matcher
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.integration.delivery.kit import Desk, Rule, at, is_self_alert
from tests.integration.kit import DOWN, REFUSED, Sender

ANSWERS: dict[str, Exception | None] = {
    "works": None,
    "is down": DOWN,
    "refuses": REFUSED,
    "is busy": TransientDeliveryError("the receiver answered 429", retry_after=timedelta(hours=1)),
}
RULES = {
    "single": Rule(realert=None),
    "escalating": Rule(escalation=Escalation(timedelta(minutes=15), "boss")),
    "escalating to hook": Rule(escalation=Escalation(timedelta(hours=1), "hook")),
    "by severity": Rule(level=lambda record: Level[record.severity.upper()]),
    "by severity that escalates": Rule(
        level=lambda record: Level[record.severity.upper()], escalation=Escalation(timedelta(minutes=15), "boss")
    ),
    "big": Rule(name="big"),
    "small": Rule(name="small"),
}
BIG_INHIBITS_SMALL = InhibitRule((parse_matcher("rule=big"),), (parse_matcher("rule=small"),), ("userName",))


@dataclass(frozen=True)
class Scenario:
    """A sentence, and the lines that show it."""

    title: str
    lines: Sequence[str]

    def __str__(self) -> str:
        return self.title


def read(text: str) -> list[Scenario]:
    """Read scenarios that blank lines separate."""
    return [
        Scenario(title.strip(), lines)
        for block in re.split(r"\n\s*\n", text.strip("\n"))
        for title, *its in [block.splitlines()]
        for lines in _alternatives([line.strip() for line in its])
    ]


def _alternatives(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    parts = [re.split(r"(, )", line) for line in lines]
    flat = [part.split(" | ") for line in parts for part in (*line, "\n")]
    for chosen in itertools.product(*flat):
        yield "".join(chosen).splitlines()


@dataclass
class Play:
    """A scenario while it runs."""

    desk: Desk
    rule: Rule = field(default_factory=Rule)
    alert_ids: dict[str, str] = field(default_factory=dict)
    """The alert of each user and of each rule, and the one that was matched last."""
    silence_id: str = ""
    sent: list[Message] = field(default_factory=list)
    """What was sent, and is forgotten."""

    def run(self, scenario: Scenario) -> None:
        """Let it happen."""
        for line in scenario.lines:
            name, colon, expected = line.partition(": ")
            check = next((each for each in CHECKS if colon and re.fullmatch(each, name)), None)
            if check is not None:
                given = re.fullmatch(check, name)
                assert given is not None
                found, wanted = CHECKS[check](self, expected, **given.groupdict())
                assert found == wanted, line
            else:
                self.happen(line)
        self._check_repeats()

    def happen(self, line: str) -> Self:
        """Do the things of a line."""
        for action in re.split("[,;] ", line):
            self.act(action)
        return self

    def act(self, text: str) -> None:
        """Do one thing."""
        if (repeated := re.fullmatch(r"(\d+) x (.+)", text)) is not None:
            for _ in range(int(repeated[1])):
                self.act(repeated[2])
            return
        for pattern, do in ACTIONS.items():
            if (given := re.fullmatch(pattern, text)) is not None:
                do(self, **given.groupdict())
                return
        self.desk.later(seconds=parse_duration(text).total_seconds())

    def alert_id(self, whose: str | None = None) -> str:
        """Return the alert of a user or rule, or the one of the last match."""
        return self.alert_ids[whose or ""]

    def _check_repeats(self) -> None:
        sent = [*self.sent, *(each for sender in self.desk.senders.values() for each in sender.sent)]
        first: dict[str, Message] = {}
        for message in sent:
            assert first.setdefault(message.id, message) == message, "a message is not what it was"


# -- actions


def _match(play: Play, count: str | None, user: str | None, severity: str | None) -> None:
    changes = {"user_name": user or "eve", **({"severity": severity} if severity else {})}
    alert_id = play.desk.match_records(play.rule, count=int(count or 1), **changes)
    play.alert_ids |= dict.fromkeys(("", user or "eve", play.rule.name), alert_id)


def _decide(play: Play, decision: str, whose: str | None, who: str | None, why: str | None) -> None:
    operator, alert_id = play.desk.operator, play.alert_id(whose)
    if decision == "reopen":
        operator.reopen(alert_id, who or "sam", why or "")
    else:
        operator.act(decision, alert_id, who or "sam")


def _decide_again(play: Play, decision: str, who: str, text: str) -> None:
    assert play.desk.operator.act(decision, play.alert_id(), who) == Decision(text, is_new=False)


def _assign(play: Play, to: str, who: str | None, why: str | None) -> None:
    play.desk.operator.assign(play.alert_id(), who or "sam", None if to == "nobody" else to, why or "")


def _note(play: Play, who: str, text: str) -> None:
    play.desk.operator.note(play.alert_id(), who, text)


def _answer(play: Play, name: str, how: str, count: str | None) -> None:
    if count is None:
        play.desk.senders[name].answer = lambda _: ANSWERS[how]
    else:
        left = [ANSWERS[how]] * int(count)
        play.desk.senders[name].answer = lambda _: left.pop() if left else None


def _add(play: Play, name: str) -> None:
    play.desk.senders[name] = Sender()
    if name == "mail":
        play.desk.policies[name] = ReceiverPolicy(is_updated_last=True)
    if name == "boss":
        play.desk.route = Route(("hook",))  # only escalations reach it


def _back(play: Play, fallback: str, name: str) -> None:
    play.desk.senders[fallback] = Sender()
    _set_policy(play, name, fallback=fallback)
    play.desk.route = Route(("hook",))


def _set_policy(play: Play, name: str, **options: Any) -> None:
    play.desk.policies[name] = replace(play.desk.policies.get(name, ReceiverPolicy()), **options)


def _hold_for_digest(play: Play, name: str, hour: str) -> None:
    _set_policy(play, name, digest=parse_crontab(f"0 {hour} * * *"))


def _rename(play: Play) -> None:
    play.sent += play.desk.hook.sent
    play.desk.senders, play.desk.policies, play.desk.route = {"new": Sender()}, {}, None


def _forget(play: Play, name: str) -> None:
    play.sent += play.desk.senders[name].sent
    play.desk.senders[name].sent.clear()


def _remove(play: Play, name: str) -> None:
    play.sent += play.desk.senders.pop(name).sent


def _silence(play: Play, matcher: str, span: str) -> None:
    play.silence_id = play.desk.silence(matcher, seconds=parse_duration(span).total_seconds()).id


def _expire(play: Play) -> None:
    with play.desk.database.write() as connection:
        silences.expire(connection, [play.silence_id], play.desk.clock(), "sam")


def _route(play: Play, names: str) -> None:
    play.desk.route = Route(tuple(names.split(" and ")))


def _route_critical(play: Play, name: str) -> None:
    play.desk.route = Route(("hook",), routes=(Route((name,), (parse_matcher("level=critical"),)),))


def _mute(play: Play) -> None:
    play.desk.route = Route(("hook",), mutes=("nights",))


def _set_night(play: Play, begin: str, end: str) -> None:
    begins, ends = int(begin) * 60, int(end) * 60
    times = ((begins, ends),) if begins < ends else ((begins, 24 * 60), (0, ends))
    play.desk.global_policy = GlobalPolicy(intervals={"nights": TimeInterval("nights", (Period(times=times),))})


def _end_nights(play: Play) -> None:
    play.desk.global_policy, play.desk.route = GlobalPolicy(), None


def _inhibit(play: Play) -> None:
    play.desk.global_policy = GlobalPolicy((BIG_INHIBITS_SMALL,))


def _requeue(play: Play, name: str) -> None:
    with play.desk.database.write() as connection:
        delivery_transitions.requeue(connection, DeliveryFilter(receiver=name), play.desk.clock())


def _drop(play: Play, name: str) -> None:
    with play.desk.database.write() as connection:
        delivery_transitions.drop(connection, DeliveryFilter(receiver=name), "sam")


def _die_with_lease(play: Play) -> None:
    with play.desk.database.write() as connection:
        delivery_transitions.claim(connection, play.desk.rows(), play.desk.clock() + LEASE, "sender")


def _readdress(play: Play, to: str) -> None:
    with play.desk.database.write() as connection:
        dead_letters.readdress(connection, DeliveryFilter(), to, "sam", play.desk.clock())


def _set_rule(play: Play, name: str) -> None:
    play.rule = RULES[name]


def _set_time(play: Play, time: str) -> None:
    play.desk.clock.now = at(time)


def _wait(play: Play, span: str) -> None:
    play.desk.clock.advance(seconds=parse_duration(span).total_seconds())


ACTIONS: dict[str, Callable[..., None]] = {
    r"match(?: (?P<count>\d+))?(?: by (?P<user>\w+))?(?: of (?P<severity>\w+))?": _match,
    r"rule (?P<name>.+)": _set_rule,
    r"send": lambda play: play.desk.deliver(),
    r"wait (?P<span>\w+)": _wait,
    r"at (?P<time>\d\d:\d\d)": _set_time,
    r"(?P<decision>ack|resolve|reopen)(?: of (?P<whose>\w+))?(?: by (?P<who>\w+))?(?:: (?P<why>.+))?": _decide,
    r"again (?P<decision>\w+) by (?P<who>\w+) says (?P<text>.+)": _decide_again,
    r"assign to (?P<to>\w+)(?: by (?P<who>\w+))?(?:: (?P<why>.+))?": _assign,
    r"note by (?P<who>\w+): (?P<text>.+)": _note,
    r"(?P<name>\w+) (?P<how>works|is down|refuses|is busy)(?: (?P<count>\d+) times?)?": _answer,
    r"(?P<name>\w+) forgets": _forget,
    r"with (?P<name>\w+)": _add,
    r"(?P<fallback>\w+) backs (?P<name>\w+)": _back,
    r"hook becomes new": _rename,
    r"remove (?P<name>\w+)": _remove,
    r"routed to (?P<names>.+)": _route,
    r"critical alerts go to (?P<name>\w+)": _route_critical,
    r"(?P<name>\w+) is like mail": lambda play, name: _set_policy(play, name, is_updated_last=True),
    r"(?P<name>\w+) wants (?P<level>\w+)": lambda play, name, level: _set_policy(
        play, name, min_level=Level[level.upper()]
    ),
    r"(?P<name>\w+) has a digest at (?P<hour>\d+)": _hold_for_digest,
    r"(?P<name>\w+) has a storm of (?P<most>\d+)": lambda play, name, most: _set_policy(
        play, name, storm=Storm(int(most))
    ),
    r"silence (?P<matcher>\S+) for (?P<span>\w+)": _silence,
    r"expire the silence": _expire,
    r"hook is muted at night": _mute,
    r"night lasts from (?P<begin>\d+) to (?P<end>\d+)": _set_night,
    r"nights are removed": _end_nights,
    r"big inhibits small": _inhibit,
    r"requeue what (?P<name>\w+) refused": _requeue,
    r"drop what (?P<name>\w+) refused": _drop,
    r"send dead letters to (?P<to>\w+)": _readdress,
    r"a process leases it and dies": _die_with_lease,
}


# -- what is compared: what was found, and what was expected

Compared = tuple[object, object]


def _listed(expected: str) -> list[str]:
    return [] if expected == "nothing" else expected.split(", ")


def _fields(expected: str) -> dict[str, str]:
    return dict(part.split(" ", 1) for part in expected.split(", "))


def _shown(given: Any, expected: str) -> Compared:
    """Compare some fields of a document or an object; what is missing is nobody."""
    wanted = _fields(expected)
    found = {name: given.get(name) if isinstance(given, dict) else getattr(given, name) for name in wanted}
    return {name: "nobody" if value is None else str(value) for name, value in found.items()}, wanted


def _document(message: Message) -> dict[str, Any]:
    return {**message.data, "type": message.type}


def _about_records(play: Play, name: str) -> list[Message]:
    return [message for message in play.desk.senders[name].sent if not is_self_alert(message)]


def _check_list(play: Play, expected: str, name: str, order: str | None) -> Compared:
    found, wanted = play.desk.received(name), _listed(expected)
    return (sorted(found), sorted(wanted)) if order else (found, wanted)


def _check_message(play: Play, expected: str, place: str, name: str) -> Compared:
    return _shown(_document(_about_records(play, name)[0 if place == "first" else -1]), expected)


def _check_listed(play: Play, expected: str, name: str) -> Compared:
    listed = [
        f"{each['title']} {each['status']} x{each['count']}" for each in _about_records(play, name)[-1].data["alerts"]
    ]
    return sorted(listed), sorted(_listed(expected))


def _check_field(play: Play, expected: str, name: str) -> Compared:
    fields = [" ".join(field) for field in _about_records(play, name)[-1].fields]
    return [each for each in fields if each == expected], [expected]


def _check_history(play: Play, expected: str, stage: str | None) -> Compared:
    lines = play.desk.history(play.alert_id())
    if stage is None:
        return [line for line in lines if expected in line] != [], True
    return [line.removeprefix(f"{stage}: ") for line in lines if line.startswith(f"{stage}: ")], expected.split("; ")


def _check_alert(play: Play, expected: str) -> Compared:
    return _shown(play.desk.alerts()[play.alert_id()], expected)


def _check_escalations(play: Play, expected: str) -> Compared:
    rows = sorted((row for row in play.desk.all_rows() if row.is_escalation), key=lambda row: -row.ordinal)
    return [f"{row.ordinal} {row.status} {row.why or ''}".strip() for row in rows], _listed(expected)


CHECKS: dict[str, Callable[..., Compared]] = {
    r"history(?: of (?P<stage>\w+))?": _check_history,
    r"alert": _check_alert,
    r"alerts": lambda play, expected: (len(play.desk.alerts()), int(expected)),
    r"rows": lambda play, expected: (play.desk.states(), _listed(expected)),
    r"stopped": lambda play, expected: (play.desk.gated(), _listed(expected)),
    r"troubles": lambda play, expected: (sorted(play.desk.open_troubles()), _listed(expected)),
    r"escalations": _check_escalations,
    r"(?P<place>first|last) of (?P<name>\w+)": _check_message,
    r"listed by (?P<name>\w+)": _check_listed,
    r"(?P<name>\w+) reads": _check_field,
    r"(?P<name>hook|mail|boss|other|pager|new)(?P<order> in any order)?": _check_list,
}

"""The list of alerts: one line of search, chips that apply at once, and groups that unfold. All are links and one form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from actionwatch.base.ids import UUID
from actionwatch.base.model import LEVELS, STATUSES, Level
from actionwatch.queries import PAGE_SIZE, alerts, names
from actionwatch.store.alerts import AlertFilter, count_opened_after
from actionwatch.web.access import visitor_of
from actionwatch.web.console.page import given_query, href, link, render_search
from actionwatch.web.console.silencing import SPANS
from actionwatch.web.filters import ANY, REPEATABLE, AlertQuery, read_form
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery, grouped, read_time

NOTHING_GIVEN = {"author": "", "comment": "", "span": SPANS[0], "to": ""}
PATH = "/alerts"
_MOST_NEW = 100  # counted; more are "or more"
_PLACES = ("after", "select", "group", "unfold")  # what belongs to one page of a list, or one way to show it
_REMOVABLE = ("rule", "user", "cluster", "account", "source", "assigned", "since", "until", "text")
_GROUPS_SHOWN = 100
_UNFOLDED = 20  # alerts of a group


@dataclass(frozen=True, slots=True)
class _Chip:
    """A link that sets or removes a filter."""

    text: str
    target: str
    is_on: bool = False
    count: int | None = None
    name: str = ""
    title: str = ""


def show_list(request: Request, parts: Parts) -> Response:
    """Show the alerts that match the filters of the query. A form also sends empty ones: the URL is shortened."""
    given = grouped(request.query_params)
    short = {name: values if name in REPEATABLE else values[-1:] for name, values in _filled(given).items()}
    if short != given:
        return RedirectResponse(link(PATH, short), 303)
    return show_list_with(request, parts)


def show_list_with(request: Request, parts: Parts, code: int = 200, **decision: Any) -> Response:
    """Show the list with the state of a decision about several: `note`, `problem`, `missed`, `drafts`, `given`, `chosen`."""
    now, query = parts.clock(), UrlQuery(request.query_params)
    wanted = read_form(query, AlertQuery).filter(now)
    grouping = query.choice("group", {each: each for each in ("", *alerts.GROUPINGS)}, "")
    grouping = grouping if alerts.can_group(wanted) else ""
    after = query.after(*alerts.place_of(wanted))
    with parts.database.read() as connection:
        page = None if query.problems else alerts.search(connection, wanted, PAGE_SIZE, alerts.SEARCHED, after)
        folded = alerts.read_folded(connection, wanted, page.items) if page else {}
        counts = alerts.count_needs(connection)
        people = alerts.read_people(connection)
        groups = _groups(connection, request, grouping, wanted)
        named = names.of_silences(connection, [made for made, _ in decision.get("drafts", ())])
        ids = {each for each in (wanted.cluster, wanted.account) if each and UUID.fullmatch(each)}
        known = names.of_ids(connection, ids) | {rule.name.id: rule.name.name for rule in parts.configuration.rules()}
    has_sources = len(parts.configuration.sources()) > 1
    state = {"note": "", "titles": (), "reopenable": (), "problem": "", "missed": (), "drafts": (), "chosen": ()}
    return render_search(
        request,
        "alerts.html",
        now,
        query,
        page,
        code,
        **_chips(request, wanted, counts, grouping, has_sources=has_sources),
        set_chips=list(_set_chips(_others(request), known)),
        **groups,
        folded=folded,
        every_level=href(PATH, level=list(reversed(LEVELS))),
        levels=list(reversed(Level)),
        rules=sorted(rule.name.name for rule in parts.configuration.rules()),
        has_sources=has_sources,
        kept=[(name, value) for name, values in _others(request).items() if name != "text" for value in values],
        here_query=_others(request),
        may_select=visitor_of(request).may_decide,
        about=_about(wanted, counts, grouping),
        spans=SPANS,
        people=people,
        names=named,
        **{**state, "given": NOTHING_GIVEN, **decision},
    )


def _filled(given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the parameters that are not empty."""
    filled = {name: [value for value in values if value.strip()] for name, values in given.items()}
    return {name: values for name, values in filled.items() if values}


def _others(request: Request) -> dict[str, list[str]]:
    """Return the filters of the query."""
    return {name: values for name, values in _filled(given_query(request)).items() if name not in _PLACES}


def _about(wanted: AlertFilter, counts: Mapping[Level, int], grouping: str) -> str:
    """Say what the list shows, and in which order."""
    if not wanted.needs_person:
        return "Newest first."
    if not alerts.can_group(wanted):
        return "Open, worst first."
    count = sum(count for level, count in counts.items() if not wanted.levels or level in wanted.levels)
    order = f", by {grouping}" if grouping else ", worst first"
    return f"{count:,} open{order}."


def _chips(
    request: Request, wanted: AlertFilter, counts: Mapping[Level, int], grouping: str, *, has_sources: bool
) -> dict[str, Any]:
    others, name = _others(request), visitor_of(request).name
    words = others.get("level", [])
    view = {"group": grouping} if grouping else {}
    is_counted = alerts.can_group(wanted)
    return {
        "level_chips": [
            _Chip(
                word,
                href(PATH, {**others, **view, "level": _toggled(words, word)}),
                word in words,
                counts.get(level, 0) if is_counted else None,
            )
            for word, level in reversed(LEVELS.items())
        ],
        "status_chips": _status_chips(others),
        "people_chips": _people_chips(others, name, is_nobodys=wanted.is_unassigned),
        "group_chips": [
            _Chip(each, href(PATH, others, group="" if each == grouping else each), each == grouping)
            for each in (alerts.GROUPINGS if is_counted else ())
            if each != "source" or has_sources
        ],
    }


def _toggled(words: Sequence[str], word: str) -> list[str]:
    return [each for each in words if each != word] if word in words else [*words, word]


def _status_chips(others: Mapping[str, Sequence[str]]) -> list[_Chip]:
    chosen = others.get("status", [])
    choices = {"open": [], **{word: [word] for word in STATUSES if word != "open"}, "all": [ANY]}
    return [_Chip(word, href(PATH, {**others, "status": given}), chosen == given) for word, given in choices.items()]


def _people_chips(others: Mapping[str, Sequence[str]], name: str | None, *, is_nobodys: bool) -> list[_Chip]:
    chips = []
    if name is not None:
        is_mine = others.get("assigned") == [name]
        chips.append(_Chip("mine", href(PATH, others, assigned="" if is_mine else name, unassigned=""), is_mine))
    target = href(PATH, others, unassigned="" if is_nobodys else "true", assigned="")
    return [*chips, _Chip("unassigned", target, is_nobodys)]


def _set_chips(others: Mapping[str, Sequence[str]], names_of: Mapping[str, str]) -> Iterable[_Chip]:
    for name in _REMOVABLE:
        for value in others.get(name, ()):
            left = [each for each in others[name] if each != value]
            target, text = href(PATH, {**others, name: left}), names_of.get(value, value)
            yield _Chip(text, target, True, name=name, title=value)


def _groups(connection: Connection, request: Request, grouping: str, wanted: AlertFilter) -> dict[str, Any]:
    """Return the groups, each with the link that unfolds it, and the alerts of the one that is unfolded."""
    if not grouping:
        return {"groups": (), "grouping": "", "unfold": None, "unfolded": (), "is_any_unfolded": False}
    others, chosen = _others(request), request.query_params.get("unfold")
    is_any, value = chosen is not None, (chosen or "").removeprefix("=") if chosen != "-" else None
    found = alerts.read_groups(connection, grouping, wanted.levels)[:_GROUPS_SHOWN]
    unfolded = alerts.read_of_group(connection, grouping, value, wanted.levels, _UNFOLDED) if is_any else []

    def shown(group: alerts.AlertGroup) -> dict[str, Any]:
        is_open = is_any and group.value == value
        place = "" if is_open else "-" if group.value is None else f"={group.value}"
        target = href(PATH, others, group=grouping, unfold=place)
        every = href(PATH, {**others, grouping: group.value}) if group.value else None
        return {"value": group.value, "count": group.count, "counts": group.counts, "target": target, "all": every}

    return {
        "groups": [shown(group) for group in found],
        "grouping": grouping,
        "unfold": value,
        "unfolded": unfolded,
        "is_any_unfolded": is_any,
    }


def count_new(request: Request, parts: Parts) -> Response:
    """Count the alerts that opened after a page was made: the script of an open page asks every 15 seconds."""
    try:
        after = read_time(request.query_params.get("after", "").strip(), parts.clock())
    except ValueError as exc:
        raise HTTPException(400, "after: give the time after which alerts are new") from exc
    with parts.database.read() as connection:
        count = count_opened_after(connection, after, _MOST_NEW)
    return JSONResponse({"count": count, "more": count == _MOST_NEW})

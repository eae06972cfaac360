"""Keep the present filter of the list of alerts under a name, or remove it. Readers may too: it changes nothing for others."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from actionwatch.base.plurals import counted
from actionwatch.store import kept_filters
from actionwatch.store.kept_filters import MAX_KEPT, KeptFilter
from actionwatch.text.escaping import one_line
from actionwatch.web.access import visitor_of
from actionwatch.web.console.alert_list import MAX_NAME_CHARS, PATH, present_filter, show_list_with
from actionwatch.web.console.forms import Fields, check_is_ours, given_in
from actionwatch.web.parts import Parts

ACTIONS = ("keep", "forget")
_MAX_QUERY_CHARS = 2000  # the page of the list has all filters of a person


def submit(request: Request, parts: Parts, fields: Fields) -> Response:
    """Keep or remove a filter, or show the list with what is wrong."""
    check_is_ours(request, fields)
    person = visitor_of(request).keeper
    if person is None:
        raise HTTPException(403, "nobody knows who keeps this filter: sign in with your own token")
    kept = KeptFilter(one_line(given_in(fields, "name")["name"]), present_filter(request), parts.clock())
    try:
        if fields["action"] == "keep":
            _keep(parts, person, kept)
        else:
            with parts.database.write() as connection:
                kept_filters.remove(connection, person, kept.name)
    except ValueError as exc:
        return show_list_with(request, parts, 400, problem=str(exc))
    return RedirectResponse(f"{PATH}?{kept.query}" if kept.query else PATH, 303)


def _keep(parts: Parts, person: str, kept: KeptFilter) -> None:
    """Keep a filter. Raises: ValueError, with a sentence."""
    if not kept.name:
        raise ValueError("The name is missing: write one, to find this filter again.")
    if len(kept.name) > MAX_NAME_CHARS:
        raise ValueError(f"name: {counted(len(kept.name), 'character')}: shorten it to {MAX_NAME_CHARS}.")
    if not kept.query:
        raise ValueError("Nothing is filtered: choose what the list shows first.")
    if len(kept.query) > _MAX_QUERY_CHARS:
        raise ValueError(
            f"This filter has {counted(len(kept.query), 'character')}: shorten it to {_MAX_QUERY_CHARS:,}."
        )
    with parts.database.write(is_durable=True) as connection:
        has_room = kept_filters.keep(connection, person, kept)
    if not has_room:
        raise ValueError(f"You have {MAX_KEPT} filters, which is the maximum: remove one first.")

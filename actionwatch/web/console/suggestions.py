"""Suggestions for the search box of a list while a person types: users, clusters, accounts, kinds and rules with the last word.

The page works without it: the words are searched as they were typed.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from actionwatch.queries import records, rules
from actionwatch.text.escaping import visible
from actionwatch.web.parts import Parts
from actionwatch.web.query import MAX_CHARS, UrlQuery

_LISTS = {"alerts": (True, True), "records": (True, False), "rules": (False, True)}
"""The lists with a box, and whether it finds the names in records, and those of rules."""
_MOST_RULES = 5


def show(request: Request, parts: Parts) -> Response:
    """Return texts for the box as JSON, each with what it is."""
    query = UrlQuery(request.query_params)
    text = query.given.get("text", "")
    finds_records, finds_rules = query.choice("of", _LISTS, "records")
    before, word = text[: len(text) - len(text.split(" ")[-1])], text.split(" ")[-1]
    found: list[tuple[str, str]] = []
    if word and len(text) <= MAX_CHARS:
        if finds_rules:
            named = rules.names_with(parts.configuration.rules(), word)[:_MOST_RULES]
            found += ((name, "rule") for name in named)
        if finds_records:
            with parts.database.read() as connection:
                found += records.suggest(connection, word)
    shown = ((name, what) for name, what in found if visible(name) == name and len(before + name) <= MAX_CHARS)
    return JSONResponse([{"text": before + name, "what": what} for name, what in shown])

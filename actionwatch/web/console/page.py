"""Render a page. Audit text is only ever a value: jinja2 escapes it for HTML, and `visible` what could reorder or hide it."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from actionwatch import __version__
from actionwatch.base.durations import spell_duration
from actionwatch.base.ids import UUID
from actionwatch.base.plurals import counted
from actionwatch.queries.names import spell_matchers
from actionwatch.queries.pages import Page
from actionwatch.text.escaping import shorten, visible
from actionwatch.text.matchers import Matcher
from actionwatch.text.payloads import instant, short_id
from actionwatch.text.times import DATE_AND_TIME, spell_ago
from actionwatch.web.access import visitor_of
from actionwatch.web.paths import goal_of
from actionwatch.web.query import UrlQuery, cursor, grouped

_MAX_TEXT_CHARS = (
    2000  # of a text: longer ones are cut, with the number of cut characters; the filter `whole` shows all
)
_MAX_BRIEF_CHARS = 200  # of a name or a text in a list
_FOLDER = Path(__file__).parent
_CODE = re.compile(r"`([^`]+)`")
_WORD_END = re.compile(r"([_.@/-])(?=\w)")
STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}
_SECTIONS = {
    "/": "Overview",
    "/alerts": "Alerts",
    "/records": "Records",
    "/deliveries": "Deliveries",
    "/silences": "Silences",
    "/rules": "Rules",
}
_OF_MANY = {"/sources": "Sources"}  # a few are all on the overview


def render(request: Request, template: str, now: datetime, code: int = 200, **values: Any) -> Response:
    """Render a template as the response. `now` is the time by which ages are shown."""
    return HTMLResponse(text_of(request, template, now, **values), code)


def text_of(request: Request, template: str, now: datetime, **values: Any) -> str:
    """Render a template as a text. `now` is the time by which ages are shown."""
    return "".join(_pieces(request, template, now, values))


def _pieces(request: Request, template: str, now: datetime, values: Mapping[str, Any]) -> Iterator[str]:
    given, visitor = given_query(request), visitor_of(request)
    shared = {
        "now": now,
        "path": request.url.path,
        "here": href(request.url.path, given),
        "asked": goal_of(link(request.url.path, given)),
        "select_all": href(request.url.path, given, select="all"),
        "is_all_selected": request.query_params.get("select") == "all",
        "visitor": visitor,
        "sections": _SECTIONS | (_OF_MANY if request.app.state.has_many_sources() else {}),
        "form_token": request.app.state.form_tokens.make(request),
    }
    return _environment().get_template(template).generate(**shared, **values)


def render_search(
    request: Request,
    template: str,
    now: datetime,
    query: UrlQuery,
    page: Page[Any] | None,
    code: int = 200,
    **values: Any,
) -> Response:
    """Render a page of a search, which begins at the place `after` of the query; None: the query is not valid."""
    older = page.next if page else None
    return render(
        request,
        template,
        now,
        400 if query.problems else code,
        query=query,
        found=page.items if page else (),
        is_first=page is None or not query.given.get("after"),
        older=older and href(request.url.path, given_query(request), after=cursor(older)),
        oldest=page.oldest if page else None,
        least=page.level if page else None,
        **values,
    )


def given_query(request: Request) -> dict[str, list[str]]:
    """Return the query of a request, except what it selects."""
    return {name: values for name, values in grouped(request.query_params).items() if name != "select"}


@functools.cache
def static_file(name: str) -> bytes:
    """Read a static file."""
    return (_FOLDER / "static" / name).read_bytes()


def link(path: str, query: Mapping[str, object] | None = None, **more: object) -> str:
    """Return a URL on this origin. Empty values are left out; a list is repeated. `more` replaces values of `query`."""
    given = {name: value for name, value in {**(query or {}), **more}.items() if value not in (None, "", (), [])}
    # A lone surrogate, which a damaged store may hold, is no character of a URL.
    return quote(path, errors="replace") + (f"?{urlencode(given, doseq=True, errors='replace')}" if given else "")


def href(path: str, query: Mapping[str, object] | None = None, **more: object) -> Markup:
    """Return the URL of `link` for an attribute of a page. It is never cut, as other texts are."""
    return escape(link(path, query, **more))


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "utc": lambda at: at.astimezone(UTC).strftime(DATE_AND_TIME),
        "instant": instant,
        "ago": spell_ago,
        "duration": spell_duration,
        "short": short_id,
        "breakable": _breakable,
        "code": _with_code,
        "brief": lambda text: shorten(text, _MAX_BRIEF_CHARS) if text else text,
        "as_written": escape,  # for the fields of forms: a browser would send back the cut or escaped text
        "whole": lambda text: escape(visible(text or "")),
        "counted": counted,
        "matcher": lambda label, value: str(Matcher(label, "=", value)),
        "named": spell_matchers,
        "short_ids": lambda text: UUID.sub(lambda found: short_id(found[0]), text),
    }
    made.globals |= {"link": href, "static": _static_link, "version": __version__}
    return made


def _breakable(text: str) -> Markup:
    """Return a name with line break opportunities between its words, for a narrow column."""
    return Markup(_WORD_END.sub(r"\1<wbr>", str(escape(visible(shorten(text, _MAX_BRIEF_CHARS))))))  # noqa: S704  # nosec  # escaped before


def _with_code(text: str) -> Markup:
    """Return a text with each part in backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(visible(text)))))  # noqa: S704  # nosec  # escaped before


def _shown(value: Any) -> Any:
    """Return a value as it is printed: not too long, without control characters, and without what reorders or hides text."""
    if value is None:
        return ""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return visible(shorten(value, _MAX_TEXT_CHARS)) if is_text else value


@functools.cache
def _static_link(name: str) -> str:
    """Return the URL of a static file, which changes with its content, so that browsers can keep it."""
    return link(f"/static/{name}", v=hashlib.sha256(static_file(name)).hexdigest()[:12])

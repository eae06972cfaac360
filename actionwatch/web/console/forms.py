"""The common part of forms that change something: the right to send it, its author, and a bounded selection of rows."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import ImmutableMultiDict
from starlette.exceptions import HTTPException
from starlette.requests import Request

from actionwatch.base.access import MAX_COMMENT_CHARS
from actionwatch.base.plurals import counted
from actionwatch.queries import PAGE_SIZE
from actionwatch.web.console.form_tokens import FIELD
from actionwatch.web.requests import check_may_decide

Fields = ImmutableMultiDict[str, str]
MAX_AT_ONCE = PAGE_SIZE  # rows


def check_form(request: Request, fields: Fields) -> None:
    """Check that its visitor may change something, and that one of our pages made the form. Raises: HTTPException."""
    check_may_decide(request)
    check_is_ours(request, fields)


def check_is_ours(request: Request, fields: Fields) -> None:
    """Check that one of our pages made a form. Raises: HTTPException."""
    if not request.app.state.form_tokens.is_valid(request, fields.get(FIELD, "")):
        raise HTTPException(
            403, "this form is from before the sign-in or the start of the service: open the page again"
        )
    if any("\0" in text for pair in fields.multi_items() for text in pair):  # no text in PostgreSQL can have it
        raise HTTPException(400, "the form contains a NUL character: remove it")


def given_in(fields: Fields, *names: str) -> dict[str, str]:
    """Return what was typed, without the spaces around it, to read it and to show it again."""
    return {name: fields.get(name, "").strip() for name in names}


def selected(fields: Fields, noun: str) -> list[str]:
    """Return the ids of the selected rows. Raises: ValueError, with a sentence."""
    ids = list(dict.fromkeys(text for text in fields.getlist("id") if text))
    if not ids:
        raise ValueError(f"Nothing is selected: select one {noun} or more.")
    if len(ids) > MAX_AT_ONCE:
        raise ValueError(f"{counted(len(ids), noun)} are selected: select at most {MAX_AT_ONCE} at once.")
    return ids


def check_comment(given: Mapping[str, str], if_missing: str | None = None) -> None:
    """Check a comment; `if_missing` is the sentence for one that is needed. Raises: ValueError, with a sentence about it."""
    count = len(given["comment"])
    if count > MAX_COMMENT_CHARS:
        raise ValueError(f"comment: {counted(count, 'character')}: shorten it to {MAX_COMMENT_CHARS:,}.")
    if if_missing and not count:
        raise ValueError(if_missing)

"""The sentences about a request that is not valid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from actionwatch.base.plurals import counted
from actionwatch.text.escaping import shorten

_SHOWN_CHARS = 60


def sentences(errors: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence about each error that pydantic found."""
    for error in errors:
        # A number is the place in a list, or in the text of the body.
        where = shorten(".".join(each for each in error["loc"][1:] if isinstance(each, str)), _SHOWN_CHARS)
        context, given = error.get("ctx", {}), error["input"]
        match error["type"]:
            case "value_error":
                yield f"{where}: {context['error']}" if where else str(context["error"])
            case "missing":
                yield f"{where or 'the body'} is missing"
            case "string_too_short" | "too_short":
                yield f"{where} is empty: leave it out" if error["loc"][0] == "query" else f"{where} is empty"
            case "string_too_long":
                yield f"{where}: {counted(len(given), 'character')}: shorten it to {context['max_length']:,}"
            case "too_long":
                yield f"{where}: more than {counted(context['max_length'], 'item')}: leave some out"
            case "json_invalid":
                yield f"the body is not JSON: {context['error']} at character {error['loc'][-1]}"
            case _:
                yield f"{where or 'the body'}: {error['msg'][0].lower()}{error['msg'][1:]}"

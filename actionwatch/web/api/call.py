"""What an operation of the API is, and one call of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery

DEFAULT_LIMIT = 50
MAX_LIMIT = 200  # items of a page


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its query, and its body, decoded."""

    request: Request
    parts: Parts
    query: UrlQuery
    body: Any = None

    def path(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])


@dataclass(frozen=True, slots=True)
class Created:
    """The document of something that did not exist before."""

    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query."""

    name: str
    about: str
    schema: Mapping[str, Any]

    @property
    def is_repeatable(self) -> bool:
        """Whether a query may have it more than once."""
        return bool(self.schema["type"] == "array")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `answer` and `body` are types of documents."""

    name: str
    summary: str
    method: str
    path: str
    view: Callable[[Call], Mapping[str, Any] | Created]
    answer: Any
    body: Any = None
    parameters: Sequence[Parameter] = ()
    errors: Collection[int] = ()
    creates: bool = False

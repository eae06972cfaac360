"""The OpenAPI document, made of the operations and of the types of their documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from actionwatch import __version__
from actionwatch.web.api.call import Operation
from actionwatch.web.problems import MEDIA_TYPE, TITLES, ProblemDocument

_ALWAYS = (401, 403, 429, 500, 503)  # what the guard and the store answer
_ABOUT = (
    "The same alerts, records, deliveries, silences and rules as the console. Send `Authorization: Bearer TOKEN`; "
    "`actionwatch tokens create` makes a token. A list has `items` and `next`, the cursor of its next page."
)


def describe(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the document."""
    types = [ProblemDocument, *(each for one in operations for each in (one.answer, one.body) if each is not None)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    refs = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(f"/api/v1{one.path}", {})[one.method.lower()] = _operation(one, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "actionwatch", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(one: Operation, refs: dict[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": _ID}
                for name in re.findall(r"{(\w+)}", one.path)
            ),
            *(
                {"name": each.name, "in": "query", "description": each.about, "schema": dict(each.schema)}
                for each in one.parameters
            ),
        ],
        "responses": {
            **{
                str(status): {"description": text, "content": {"application/json": {"schema": refs[id(one.answer)]}}}
                for status, text in ({200: "Done", 201: "Created"} if one.creates else {200: "Done"}).items()
            },
            **{
                str(status): {
                    "description": TITLES[status],
                    "content": {MEDIA_TYPE: {"schema": refs[id(ProblemDocument)]}},
                }
                for status in sorted({*one.errors, *_ALWAYS})
            },
        },
    }
    if one.body is not None:
        content = {"application/json": {"schema": refs[id(one.body)]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


_ID = {"type": "string", "minLength": 1, "pattern": r"^[^/\x00-\x1f\x7f]+$"}

"""Turn pydantic's errors into plain messages with line and column.

No message contains a value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from actionwatch.base.errors import Fault
from actionwatch.text.suggestions import closest, did_you_mean
from actionwatch.text.yaml_document import Document, Place

_M = TypeVar("_M", bound=BaseModel)

_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
    "path": "a path",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_LENGTHS = {
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "too_long": "must not have more than {max_length} items",
    "string_too_long": "must not be longer than {max_length} characters",
    "string_pattern_mismatch": "contains characters that are not allowed",
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Validates parts of one document. Faults at places in `settled` are already reported."""

    document: Document
    context: Mapping[str, Any]
    settled: Collection[Place] = ()

    def read(
        self, model: type[_M], value: Any, place: Place = (), accepted: Sequence[str] = ()
    ) -> tuple[_M | None, list[Fault]]:
        """Validate the value at `place`. `accepted` are keys that another reader handles there.

        Returns: the model, or None and its faults except settled ones.
        """
        try:
            return model.model_validate(value, context=self.context), []
        except ValidationError as exc:
            errors = exc.errors(include_url=False)
        # What an unknown key probably means is not also reported as missing.
        suggested = {
            (*error["loc"][:-1], closest(str(error["loc"][-1]), _keys(model, error["loc"], accepted)))
            for error in errors
            if error["type"] == "extra_forbidden"
        }
        by_place: dict[Place, list[ErrorDetails]] = {}
        for error in errors:
            if error["type"] != "missing" or error["loc"] not in suggested:
                by_place.setdefault((*place, *_place(model, value, error["loc"])), []).append(error)
        return None, [
            self.document.fault(where, *_words(model, found, accepted, where))
            for where, found in by_place.items()
            if not self._is_settled(where) and not _is_ruled_out(where, found, by_place)
        ]

    def _is_settled(self, place: Place) -> bool:
        return any(place[: length + 1] in self.settled for length in range(len(place)))


def _place(model: type[BaseModel], value: Any, loc: Place) -> Place:
    """Follow an error's path through the value, without pydantic's marks for union members and keys.

    The place of a missing key, or of one whose default failed, is inside its parent.
    """
    place: Place = ()
    for count, step in enumerate(loc):
        is_key = isinstance(value, dict) and step in value
        if is_key or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            place, value = (*place, step), value[step]
        elif isinstance(value, dict) and step in _keys(model, loc[: count + 1], ()):
            return (*place, step)
    return place


def _is_ruled_out(place: Place, errors: list[ErrorDetails], places: Collection[Place]) -> bool:
    """Return whether these errors come only from union members that a deeper error rules out."""
    is_mismatch = all(error["type"] not in ("value_error", "missing", "extra_forbidden") for error in errors)
    return is_mismatch and any(other[: len(place)] == place and other != place for other in places)


def _words(
    model: type[BaseModel], errors: list[ErrorDetails], accepted: Sequence[str], place: Place
) -> tuple[str, str]:
    """Return the errors of one place as what and remedy. Several errors occur only for unions."""
    error = errors[0]
    name = next((step for step in reversed(place) if isinstance(step, str)), "the file")
    if error["type"] == "extra_forbidden":
        keys = _keys(model, error["loc"], accepted)
        return f"unknown key '{name}'", did_you_mean(name, keys) or f"accepted here: {', '.join(keys) or 'nothing'}"
    if error["type"] == "missing":
        return f"the key '{name}' is missing", "add it"
    if error["input"] is None and error["type"] != "value_error":
        return f"{name}: has no value", "give it one, or remove the line"
    chosen = [found for found in errors if found["type"] == "value_error"] or errors
    sentences = list(dict.fromkeys(_sentence(found) for found in chosen))
    what, _, remedy = sentences[0].partition(": ")
    return (
        f"{name}: {' or '.join([what, *(s.partition(': ')[0].removeprefix('must be ') for s in sentences[1:])])}",
        remedy,
    )


def _sentence(error: ErrorDetails) -> str:
    """Return what a value must be, as `what: remedy`."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", "not usable"))
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"must be {word} {context.get(key)}"
    if kind in _LENGTHS:
        return _LENGTHS[kind].format(**context)
    if kind in ("literal_error", "enum"):
        return _choice(error)
    base = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float").removesuffix("_attributes")
    if base in _EXPECTED:
        return _mismatch(_EXPECTED[base], error["input"])
    return error["msg"].replace("Input should", "must").replace("Value error, ", "").replace(": ", ", ")


def _choice(error: ErrorDetails) -> str:
    """Return the accepted words, which pydantic formats as `'a', 'b' or 'c'`."""
    expected = str(error.get("ctx", {}).get("expected", "")).replace("'", "")
    value = error["input"]
    near = did_you_mean(value, expected.replace(" or ", ", ").split(", ")) if isinstance(value, str) else ""
    return f"must be one of {expected}" + (f": {near}" if near else "")


def _mismatch(expected: str, value: Any) -> str:
    found = _kind(value)
    if expected == found:  # for example text from the environment that is not a number
        return f"must be {expected}"
    remedy = ""
    if expected == "text" and not isinstance(value, list | dict):
        remedy = ": quote it"
    elif expected == "a list" and not isinstance(value, dict):
        remedy = ": put it in [ ]"
    return f"must be {expected}, not {found}{remedy}"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else "nothing"


def _keys(model: type[BaseModel], loc: Place, accepted: Sequence[str]) -> list[str]:
    """Return the accepted keys next to the one at the end of `loc`."""
    here: type[BaseModel] = model
    for step in loc[:-1]:
        fields = {field.alias or name: field for name, field in here.model_fields.items()}
        if step in fields:
            here = _model_in(fields[str(step)].annotation) or here
    keys = [field.alias or name for name, field in here.model_fields.items()]
    return keys + list(accepted) if here is model else keys


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in `tuple[Model, ...]`, `Model | None` and similar types."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)

"""Parse and describe the arguments of faults."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from actionwatch.emulator.durations import Duration, format_duration, read_duration
from actionwatch.emulator.faults.kinds import REQUIRED, FaultKind


def read_argument(kind: FaultKind, given: object) -> object:
    """Parse an argument; None: no argument.

    Raises: `ValueError`, with what is accepted.
    """
    if kind.argument is None:
        if given is not None:
            raise ValueError(f"takes no argument, but was given {given!r}")
        return None
    if given is None and kind.default is not REQUIRED:
        return kind.default
    if not isinstance(kind.argument, type) and get_origin(kind.argument) is not Annotated:
        return _choose(given, list(_names(kind)))
    if isinstance(kind.argument, type) and isinstance(given, kind.argument):
        return given
    if (fields := _fields(kind.argument)) is not None and not isinstance(given, dict):
        given = {} if given is None else {next(iter(fields)): given}  # a single value is the first field
    if given in (None, {}) and _needs_value(kind.argument):
        raise ValueError(f"needs {describe(kind)}")
    try:
        return msgspec.convert(given, kind.argument, strict=not isinstance(given, str | dict), dec_hook=read_duration)
    except msgspec.ValidationError as exc:
        raise ValueError(f"{_placed(exc)}; it takes {describe(kind)}") from exc


def arrange_tokens(kind: FaultKind, tokens: list[str], named: dict[str, str]) -> object:
    """Build an argument from the parts on a command line. Parts without a name are fields in order.

    Raises: `ValueError`, if there are too many parts.
    """
    fields = _fields(kind.argument)
    if fields is None:
        if named or len(tokens) > 1:
            raise ValueError(f"takes {describe(kind) or 'no argument'}, but was given {[*tokens, *named]}")
        return tokens[0] if tokens else None
    if len(tokens) > len(fields):
        raise ValueError(f"takes {describe(kind)}, but was given {tokens}")
    return {**dict(zip(fields, tokens, strict=False)), **named} or None


def suggest(text: str, known: list[str]) -> str:
    """Suggest a similar name; empty if there is none."""
    near = get_close_matches(text, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def describe(kind: FaultKind) -> str:
    """Describe the possible arguments: names, a type, or fields with their defaults."""
    if kind.argument is None:
        return ""
    fields = _fields(kind.argument)
    if fields is not None:
        return ", ".join(_describe_field(field) for field in fields.values())
    default = "" if kind.default is REQUIRED else f" (default {_written(kind.default)})"
    if isinstance(kind.argument, type) or get_origin(kind.argument) is Annotated:
        return f"a {_form(kind.argument)}{default}"
    return " ".join(_names(kind)) + default


def _placed(exc: msgspec.ValidationError) -> str:
    """Put the field first, because msgspec appends the location of the whole fault."""
    text, _, place = str(exc).partition(" - at `$.")
    return f"{place.rstrip('`')}: {text}" if place else text


def _choose(given: object, known: list[str]) -> object:
    if given is None:
        raise ValueError(f"needs one of {', '.join(known)}")
    if given not in known:
        raise ValueError(f"{given!r} is not one of {', '.join(known)}{suggest(str(given), known)}")
    return given


def _names(kind: FaultKind) -> list[str]:
    return list(kind.argument) if isinstance(kind.argument, Mapping | tuple) else []


def _fields(form: object) -> dict[str, msgspec.structs.FieldInfo] | None:
    if isinstance(form, type) and issubclass(form, msgspec.Struct):
        return {field.encode_name: field for field in msgspec.structs.fields(form)}
    return None


def _needs_value(form: object) -> bool:
    fields = _fields(form)
    return fields is None or any(field.required for field in fields.values())


def _describe_field(field: msgspec.structs.FieldInfo) -> str:
    default = "" if field.required or field.default is None else f"={_written(field.default)}"
    return f"{field.encode_name}{default} ({_form(field.type)})"


def _form(form: Any) -> str:
    options = [option for option in get_args(form) if option is not type(None)]
    if get_origin(form) is Literal:
        return " ".join(str(option) for option in options)
    if options:  # Annotated, or a union with None
        return _form(options[0])
    return {Duration: "duration", int: "number", str: "text"}.get(form, str(form))


def _written(value: object) -> str:
    text = format_duration(value) if isinstance(value, Duration) else str(value)
    return repr(text) if re.search(r"\s", text) else text

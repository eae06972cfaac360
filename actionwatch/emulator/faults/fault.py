"""Parse a fault: `order:ascending`, `rate_limited:5s,every=10`, or the same as an object in a file."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from actionwatch.emulator.durations import Duration, format_duration, read_duration
from actionwatch.emulator.faults.kinds import REQUIRED, FaultKind
from actionwatch.emulator.faults.table import FAULTS

Operation = Literal["user_actions", "linked_accounts", "link_account", "unlink_account"]
_LIMITS: Final = ("times", "every", "for", "operation", "seed")
_NAMED: Final = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)


class FaultError(ValueError):
    """An unknown fault, or an invalid argument or limit."""


class FaultSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """A fault with its argument and its limits.

    Raises: `FaultError`, if the name, the argument or the operation is invalid.
    """

    fault: str
    arg: Any = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None  # applied at most so often
    every: Annotated[int, msgspec.Meta(ge=1)] = 1  # applied to each N-th
    for_: Duration | None = None  # applied for so long, by the clock of the organisation
    operation: Operation | None = None  # applied only to this one
    seed: int = 0

    def __post_init__(self) -> None:
        """Parse the argument; msgspec adds the location to an exception."""
        kind = _find_kind(self.fault)
        try:
            argument = _read_argument(kind, self.arg)
        except ValueError as exc:
            raise FaultError(f"{self.fault}: {exc}") from exc
        msgspec.structs.force_setattr(self, "arg", argument)
        if self.operation is not None and self.operation not in kind.effect.operations:
            where = ", ".join(kind.effect.operations) or "the log"
            raise FaultError(f"{self.fault}: applies to {where} and not to {self.operation}")
        for limit in ("times", "every"):  # msgspec does not check arguments of Python code
            if (number := getattr(self, limit)) is not None and number < 1:
                raise FaultError(f"{self.fault}: {limit} must be 1 or more")

    @property
    def kind(self) -> FaultKind:
        """The line of the table."""
        return FAULTS[self.fault]


def parse_fault(text: str) -> FaultSpec:
    """Parse `NAME[:PART,…]`: parts of the argument, and limits (`times=3`, `every=2`, `for=10s`, `operation=…`, `seed=1`).

    Raises: `FaultError`, with similar names.
    """
    name, _, rest = text.strip().partition(":")
    kind = _find_kind(name)
    tokens, named, limits = list[str](), dict[str, str](), dict[str, str]()
    for part in rest.split(",") if rest else ():
        found = _NAMED.fullmatch(part.strip())
        if found is None:
            tokens.append(part.strip())
        else:
            (limits if found[1] in _LIMITS else named)[found[1]] = found[2]
    try:
        argument = _arrange_tokens(kind, tokens, named)
        return msgspec.convert(
            {"fault": name, "arg": argument, **limits}, FaultSpec, strict=False, dec_hook=read_duration
        )
    except msgspec.ValidationError as exc:
        raise FaultError(f"{text}: {str(exc).removeprefix(f'{name}: ')}") from exc
    except FaultError:
        raise
    except ValueError as exc:
        raise FaultError(f"{name}: {exc}") from exc


def _find_kind(name: str) -> FaultKind:
    """Find a line of the table.

    Raises: `FaultError`, if the name is unknown.
    """
    if name not in FAULTS:
        raise FaultError(f"unknown fault {name!r}{_suggest(name, list(FAULTS))}")
    return FAULTS[name]


def described() -> list[tuple[str, str, str, str]]:
    """Return the table for people: name, argument, effect, and what the limits count."""
    return [(name, _describe(kind), kind.does, kind.effect.counts) for name, kind in FAULTS.items()]


def plain(fault: FaultSpec) -> dict[str, object]:
    """Return a fault as JSON, which can be parsed into the same fault."""
    built: dict[str, object] = msgspec.to_builtins(fault, enc_hook=_write, builtin_types=())
    return {key: value for key, value in built.items() if value is not None}


def _write(value: object) -> object:
    if isinstance(value, Duration):
        return format_duration(value)
    raise NotImplementedError(type(value))


# Arguments


def _read_argument(kind: FaultKind, given: object) -> object:
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
        raise ValueError(f"needs {_describe(kind)}")
    try:
        return msgspec.convert(given, kind.argument, strict=not isinstance(given, str | dict), dec_hook=read_duration)
    except msgspec.ValidationError as exc:
        raise ValueError(f"{_placed(exc)}; it takes {_describe(kind)}") from exc


def _arrange_tokens(kind: FaultKind, tokens: list[str], named: dict[str, str]) -> object:
    """Build an argument from the parts on a command line. Parts without a name are fields in order.

    Raises: `ValueError`, if there are too many parts.
    """
    fields = _fields(kind.argument)
    if fields is None:
        if named or len(tokens) > 1:
            raise ValueError(f"takes {_describe(kind) or 'no argument'}, but was given {[*tokens, *named]}")
        return tokens[0] if tokens else None
    if len(tokens) > len(fields):
        raise ValueError(f"takes {_describe(kind)}, but was given {tokens}")
    return {**dict(zip(fields, tokens, strict=False)), **named} or None


def _suggest(text: str, known: list[str]) -> str:
    near = get_close_matches(text, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _describe(kind: FaultKind) -> str:
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
        raise ValueError(f"{given!r} is not one of {', '.join(known)}{_suggest(str(given), known)}")
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

"""Parse a fault: `order:ascending`, `rate_limited:5s,every=10`, or the same as an object in a file."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from actionwatch.emulator.durations import Duration, format_duration, read_duration
from actionwatch.emulator.faults.arguments import arrange_tokens, describe, read_argument, suggest
from actionwatch.emulator.faults.kinds import FaultKind
from actionwatch.emulator.faults.table import FAULTS

Operation = Literal["user_actions", "linked_accounts", "link_account", "unlink_account"]
LIMITS: Final = ("times", "every", "for", "operation", "seed")
NAMED: Final = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)


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
        kind = find_kind(self.fault)
        try:
            argument = read_argument(kind, self.arg)
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
    kind = find_kind(name)
    tokens, named, limits = list[str](), dict[str, str](), dict[str, str]()
    for part in rest.split(",") if rest else ():
        found = NAMED.fullmatch(part.strip())
        if found is None:
            tokens.append(part.strip())
        else:
            (limits if found[1] in LIMITS else named)[found[1]] = found[2]
    try:
        argument = arrange_tokens(kind, tokens, named)
        return msgspec.convert(
            {"fault": name, "arg": argument, **limits}, FaultSpec, strict=False, dec_hook=read_duration
        )
    except msgspec.ValidationError as exc:
        raise FaultError(f"{text}: {str(exc).removeprefix(f'{name}: ')}") from exc
    except FaultError:
        raise
    except ValueError as exc:
        raise FaultError(f"{name}: {exc}") from exc


def find_kind(name: str) -> FaultKind:
    """Find a line of the table.

    Raises: `FaultError`, if the name is unknown.
    """
    if name not in FAULTS:
        raise FaultError(f"unknown fault {name!r}{suggest(name, list(FAULTS))}")
    return FAULTS[name]


def described() -> list[tuple[str, str, str, str]]:
    """Return the table for people: name, argument, effect, and what the limits count."""
    return [(name, describe(kind), kind.does, kind.effect.counts) for name, kind in FAULTS.items()]


def plain(fault: FaultSpec) -> dict[str, object]:
    """Return a fault as JSON, which can be parsed into the same fault."""
    built: dict[str, object] = msgspec.to_builtins(fault, enc_hook=_write, builtin_types=())
    return {key: value for key, value in built.items() if value is not None}


def _write(value: object) -> object:
    if isinstance(value, Duration):
        return format_duration(value)
    raise NotImplementedError(type(value))

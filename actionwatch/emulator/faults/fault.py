"""How a fault is written: `order:ascending`, `rate_limited:5s,every=10`, or the same as an object in a file."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from actionwatch.emulator.durations import Duration, format_duration, read_duration
from actionwatch.emulator.faults.arguments import arrange_tokens, describe, examples, read_argument, suggest
from actionwatch.emulator.faults.kinds import FaultKind
from actionwatch.emulator.faults.table import FAULTS

Operation = Literal["user_actions", "linked_accounts", "link_account", "unlink_account"]
LIMITS: Final = ("times", "every", "for", "operation", "seed")
NAMED: Final = re.compile(r"([a-z_]+)=(.*)", re.DOTALL)


class FaultError(ValueError):
    """A fault that there is not, or that cannot be told this."""


class FaultSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """A kind of fault, what it is told, and how often it plays.

    Raises: `FaultError` for a name, an argument or an operation that it cannot have.
    """

    fault: str
    arg: Any = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None  # plays no more often
    every: Annotated[int, msgspec.Meta(ge=1)] = 1  # plays on each so-manieth
    for_: Duration | None = None  # plays no longer, by the organisation's clock
    operation: Operation | None = None  # plays on this one alone
    seed: int = 0

    def __post_init__(self) -> None:
        """Read the argument; msgspec adds the place to what this raises."""
        kind = find_kind(self.fault)
        try:
            argument = read_argument(kind, self.arg)
        except ValueError as exc:
            raise FaultError(f"{self.fault}: {exc}") from exc
        msgspec.structs.force_setattr(self, "arg", argument)
        if self.operation is not None and self.operation not in kind.effect.operations:
            where = ", ".join(kind.effect.operations) or "the log, whoever asks"
            raise FaultError(f"{self.fault}: plays on {where}, not on {self.operation}")
        for limit in ("times", "every"):  # msgspec checks what it reads, not what Python code says
            if (number := getattr(self, limit)) is not None and number < 1:
                raise FaultError(f"{self.fault}: {limit} must be 1 or more")

    @property
    def kind(self) -> FaultKind:
        """Return the line of the table."""
        return FAULTS[self.fault]


def parse_fault(text: str) -> FaultSpec:
    """Read `NAME[:PART,…]`: parts of the argument, and limits (`times=3`, `every=2`, `for=10s`, `operation=…`, `seed=1`).

    Raises: `FaultError` with what is wrong and what is near to it.
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

    Raises: `FaultError` if there is none of that name.
    """
    if name not in FAULTS:
        raise FaultError(f"no fault is called {name!r}{suggest(name, list(FAULTS))}")
    return FAULTS[name]


def as_faults(given: "tuple[FaultSpec | str, ...]") -> list[FaultSpec]:
    """Read faults that may be texts.

    Raises: `FaultError`.
    """
    return [parse_fault(one) if isinstance(one, str) else one for one in given]


def described() -> list[tuple[str, str, str, str]]:
    """Return the table for people: name, argument, what it does, what its limits count."""
    return [(name, describe(kind), kind.does, kind.effect.counts) for name, kind in FAULTS.items()]


def every_variant() -> list[str]:
    """Return each fault once, and each of its variants that has a name, as `parse_fault` reads them."""
    return [f"{name}{example}" for name, kind in FAULTS.items() for example in examples(kind)]


def plain(fault: FaultSpec) -> dict[str, object]:
    """Return a fault as JSON that reads back as the same fault."""
    built: dict[str, object] = msgspec.to_builtins(fault, enc_hook=_write, builtin_types=())
    return {key: value for key, value in built.items() if value is not None}


def _write(value: object) -> object:
    if isinstance(value, Duration):
        return format_duration(value)
    raise NotImplementedError(type(value))

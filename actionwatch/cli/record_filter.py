"""The filter options that `actions` and `records` share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.cli.options import since_option, until_option
from actionwatch.instaclustr.kinds import KINDS, normalise_kind
from actionwatch.instaclustr.query import Query
from actionwatch.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from actionwatch.store.records import RecordFilter

OPERATIONS = ("CREATE", "READ", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """The values of the filter options, named like the parameters of the command."""

    kinds: Sequence[str]
    user: str | None
    account: str | None
    cluster: str | None
    operations: Sequence[str]
    scope: str | None
    keyword: str | None
    since: datetime | None
    until: datetime | None

    def query(self) -> Query:
        """Return the query for the upstream."""
        return Query(
            start=self.since,
            end=self.until,
            kinds=tuple(self.kinds),
            keyword=self.keyword,
            account=self.account,
            cluster_id=self.cluster,
            operations=tuple(self.operations),
            scope=self.scope,
            user_name=self.user,
        )

    def record_filter(self) -> RecordFilter:
        """Return the filter for the store."""
        from actionwatch.store.records import RecordFilter

        return RecordFilter(**asdict(self))


_OPTIONS = (
    click.option(
        "--kind",
        "kinds",
        multiple=True,
        metavar="K",
        callback=lambda _context, _option, kinds: _normalised(kinds),
        help="Only this kind (repeatable).",
    ),
    click.option("--user", metavar="U", help="Only this user."),
    click.option("--account", metavar="A", help="Only this account, by id or name."),
    click.option("--cluster", metavar="ID", help="Only this cluster, by id."),
    click.option(
        "--operation",
        "operations",
        multiple=True,
        type=click.Choice(OPERATIONS, case_sensitive=False),
        help="Only this operation (repeatable).",
    ),
    click.option("--scope", type=click.Choice(["organisation", "account"]), help="Only this scope."),
    click.option("--keyword", metavar="W", help="Only actions whose description contains this."),
    since_option,
    until_option,
)


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filter options to a command, which gets them as one `FilterOptions` in its parameter `wanted`."""
    names = [field.name for field in fields(FilterOptions)]

    @functools.wraps(function)
    def with_filter(*args: Any, **values: Any) -> Any:
        wanted = FilterOptions(**{name: values.pop(name) for name in names})
        return function(*args, wanted=wanted, **values)

    for option in reversed(_OPTIONS):
        option(with_filter)
    return with_filter


def _normalised(kinds: Sequence[str]) -> tuple[str, ...]:
    """Normalise kinds and warn about undocumented ones: most are misspelt."""
    found = tuple(normalise_kind(kind) for kind in kinds)
    for kind in found:
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            click.echo(f"note: {kind} is not a documented kind{': ' if hint else ''}{hint}", err=True)
    return found

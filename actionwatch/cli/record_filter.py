"""The filter options that `actions` and `records` share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import click

from actionwatch.base.model import RecordFilter
from actionwatch.base.search_words import words_of
from actionwatch.cli import completing
from actionwatch.cli.options import since_option, until_option
from actionwatch.cli.output import echo
from actionwatch.instaclustr.kinds import KINDS, normalise_kind
from actionwatch.text.suggestions import did_you_mean

_OPTIONS = (
    click.option(
        "--kind",
        "kinds",
        multiple=True,
        metavar="K",
        shell_complete=completing.kinds,
        callback=lambda _context, _option, kinds: _normalised(kinds),
        help="Only this kind (repeatable).",
    ),
    click.option("--user", metavar="U", help="Only this user."),
    click.option("--account", metavar="A", help="Only this account, by id or name."),
    click.option("--cluster", metavar="C", help="Only this cluster, by id or name."),
    click.option(
        "--operation",
        "operations",
        multiple=True,
        type=click.Choice(["CREATE", "READ", "UPDATE", "DELETE"], case_sensitive=False),
        help="Only this operation (repeatable).",
    ),
    click.option("--scope", type=click.Choice(["organisation", "account"]), help="Only this scope."),
    click.option("--keyword", metavar="W", help="Only actions whose description contains this."),
    since_option,
    until_option,
)


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filter options to a command, which gets them as one `RecordFilter` in its parameter `wanted`."""
    names = [field.name for field in fields(RecordFilter)]

    @functools.wraps(function)
    def with_filter(*args: Any, **values: Any) -> Any:
        wanted = RecordFilter(**{name: values.pop(name) for name in names if name in values})
        return function(*args, wanted=wanted, **values)

    for option in reversed(_OPTIONS):
        option(with_filter)
    return with_filter


def _checked(text: str | None) -> str | None:
    try:
        words_of(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from exc
    return text


text_option = click.option(
    "--text",
    metavar="WORDS",
    callback=lambda _context, _option, text: _checked(text),
    help="Only with each of these words in the user, cluster, account, kind or description, or a key that begins with it.",
)
"""For stored records, which the upstream cannot search in this way."""


def _normalised(kinds: Sequence[str]) -> tuple[str, ...]:
    """Normalise kinds and warn about undocumented ones: most are misspelt."""
    found = tuple(normalise_kind(kind) for kind in kinds)
    for kind in found:
        if kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            echo(f"note: {kind} is not a documented kind{': ' if hint else ''}{hint}", err=True)
    return found

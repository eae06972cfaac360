"""`actions`: ask the upstream directly, past the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import click

from actionwatch.cli.context import chosen_source
from actionwatch.cli.output import dump, output_option, print_items, print_table
from actionwatch.cli.records import COLUMNS, CUT, LEAVE_OUT, filter_options, row, warn_of_unknown_kinds

if TYPE_CHECKING:
    from actionwatch.base.model import Record
    from actionwatch.instaclustr.client import Client
    from actionwatch.instaclustr.query import Query

PAGE_SIZE = 1000


@click.command()
@filter_options
@click.option("--limit", type=click.IntRange(1), help="At most so many, in the upstream's order.")
@click.option("--counts", "is_counted", is_flag=True, help="Print how many there are of each kind, not the actions.")
@click.option("--source", "source_name", metavar="NAME", help="Which source to ask, where several are configured.")
@output_option
@click.pass_obj
def command(
    config: str,
    kinds: Sequence[str],
    user: str | None,
    account: str | None,
    cluster: str | None,
    operations: Sequence[str],
    scope: str | None,
    keyword: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    is_counted: bool,
    source_name: str | None,
    form: str,
) -> None:
    """Ask the upstream for user actions, with every documented filter.

    The upstream ignores a filter it does not understand, so the answer is filtered again here. JSON output has the shape of the
    webhook message's `records`.
    """
    from actionwatch.instaclustr.kinds import normalise_kind
    from actionwatch.instaclustr.query import Query
    from actionwatch.service import app
    from actionwatch.text.payloads import record_document

    warn_of_unknown_kinds(kinds)
    query = Query(
        start=since,
        end=until,
        kinds=tuple(normalise_kind(kind) for kind in kinds),
        keyword=keyword,
        account=account,
        cluster_id=cluster,
        operations=tuple(operations),
        scope=scope,
        user_name=user,
    )
    with app.reading_client(chosen_source(config, source_name)) as client:
        if account:
            client.linked_accounts()
        if is_counted:
            _print_counts(client, query, form)
            return
        found = islice(_found(client, query, limit), limit)
        print_items(
            found,
            form,
            document=record_document,
            columns=COLUMNS,
            row=row,
            nothing="no such actions",
            cut=CUT,
            leave_out=LEAVE_OUT,
        )


def _found(client: Client, query: Query, limit: int | None) -> Iterator[Record]:
    size = min(limit or PAGE_SIZE, PAGE_SIZE)
    for page in client.user_actions(query, page_size=size, in_flight=1 if limit else 4):
        yield from (record for record in page.records if query.matches(record, client.reader.known_accounts))


def _print_counts(client: Client, query: Query, form: str) -> None:
    page = client.counts(query)
    if page.counts is None:
        raise click.ClickException("the upstream told no counts: leave out --counts, and count what it lists")
    # A kind that is not documented is not asked for, since the upstream would ignore it and answer with everything.
    counts = {kind: count for kind, count in page.counts.items() if not query.kinds or kind in query.kinds}
    if form == "table":
        rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        print_table(("kind", "count"), rows, nothing="no such actions")
    else:
        click.echo(dump(counts, indent=2 if form == "json" else None))

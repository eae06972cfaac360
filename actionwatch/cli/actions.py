"""`actions`: ask the upstream directly, past the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import click

from actionwatch.cli.opened import chosen_source
from actionwatch.cli.output import dump, output_option, print_items, print_table
from actionwatch.cli.records import COLUMNS, filter_options, row
from actionwatch.documents import record_document

if TYPE_CHECKING:
    from actionwatch.instaclustr.client import Client
    from actionwatch.instaclustr.query import Query
    from actionwatch.model import Record

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
    from actionwatch import app
    from actionwatch.instaclustr.query import Query

    query = Query(
        start=since,
        end=until,
        kinds=tuple(kind.upper() for kind in kinds),
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
        print_items(found, form, document=record_document, columns=COLUMNS, row=row, nothing="no such actions")


def _found(client: Client, query: Query, limit: int | None) -> Iterator[Record]:
    size = min(limit or PAGE_SIZE, PAGE_SIZE)
    for page in client.user_actions(query, page_size=size, in_flight=1 if limit else 4):
        yield from (record for record in page.records if query.matches(record, client.reader.known_accounts))


def _print_counts(client: Client, query: Query, form: str) -> None:
    page = client.counts(query)
    if page.counts is None:
        raise click.ClickException("the upstream told no counts")
    if form == "table":
        rows = sorted(page.counts.items(), key=lambda item: (-item[1], item[0]))
        print_table(("kind", "count"), rows, nothing="no such actions")
    else:
        click.echo(dump(dict(page.counts), indent=2 if form == "json" else None))

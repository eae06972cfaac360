"""`actions`: query the upstream directly, without the store."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from actionwatch.base.model import Record, RecordFilter
from actionwatch.cli.context import reading_client
from actionwatch.cli.options import output_option, source_option
from actionwatch.cli.output import print_document, print_table
from actionwatch.cli.record_filter import filter_options
from actionwatch.cli.records import print_records
from actionwatch.instaclustr.query import Query

if TYPE_CHECKING:
    from actionwatch.instaclustr.client import Client

PAGE_SIZE = 1000


@click.command()
@filter_options
@click.option("--limit", type=click.IntRange(1), help="Maximum number of actions, in the upstream's order.")
@click.option(
    "--counts", "is_counted", is_flag=True, help="Print the number of actions of each kind instead of the actions."
)
@source_option
@output_option
@click.pass_obj
def command(
    config: str, wanted: RecordFilter, limit: int | None, is_counted: bool, source: str | None, form: str
) -> None:
    """Query the upstream for user actions, with every documented filter.

    The upstream ignores filters that it does not understand, so the response is filtered again. The JSON has the format of the
    webhook message's `records`.
    """
    query = _query(wanted)
    with reading_client(config, source) as client:
        if query.account:
            client.linked_accounts()
        if is_counted:
            _print_counts(client, query, form)
            return
        found = islice(_found(client, query, limit), limit)
        print_records(found, form, nothing="no matching actions")


def _query(wanted: RecordFilter) -> Query:
    return Query(
        start=wanted.since,
        end=wanted.until,
        kinds=tuple(wanted.kinds),
        keyword=wanted.keyword,
        account=wanted.account,
        cluster_id=wanted.cluster,
        operations=tuple(wanted.operations),
        scope=wanted.scope,
        user_name=wanted.user,
    )


def _found(client: Client, query: Query, limit: int | None) -> Iterator[Record]:
    size = min(limit or PAGE_SIZE, PAGE_SIZE)
    for page in client.user_actions(query, page_size=size, in_flight=1 if limit else 4):
        yield from (record for record in page.records if query.matches(record, client.reader.known_accounts))


def _print_counts(client: Client, query: Query, form: str) -> None:
    page = client.counts(query)
    if page.counts is None:
        raise click.ClickException("the upstream returned no counts: omit --counts and count the listed actions")
    # An undocumented kind is not sent: the upstream would ignore the filter and return everything.
    counts = {kind: count for kind, count in page.counts.items() if not query.kinds or kind in query.kinds}
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    print_document(counts, form, as_text=lambda: print_table(("kind", "count"), rows, nothing="no matching actions"))

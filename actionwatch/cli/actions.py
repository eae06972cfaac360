"""`actions`: query the upstream directly, without the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from actionwatch.base.errors import StoreMissing
from actionwatch.base.ids import UUID
from actionwatch.base.model import Record, RecordFilter
from actionwatch.base.unicode import canonical
from actionwatch.cli.context import reading_client, reading_store
from actionwatch.cli.options import output_option, source_option
from actionwatch.cli.output import print_document, print_table
from actionwatch.cli.record_filter import filter_options
from actionwatch.cli.records import print_records
from actionwatch.instaclustr.query import Query
from actionwatch.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from actionwatch.instaclustr.client import Client

_PAGE_SIZE = 1000


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
    webhook message's `records`. The upstream filters clusters by id: the stored records resolve the name of a cluster.
    """
    queries = [_query(wanted, cluster_id) for cluster_id in _cluster_ids(config, wanted.cluster)]
    with reading_client(config, source) as client:
        if wanted.account:
            client.linked_accounts()
        if is_counted:
            _print_counts(client, queries, form)
            return
        found = islice(chain.from_iterable(_found(client, query, limit) for query in queries), limit)
        print_records(found, form, nothing="no matching actions")


def _cluster_ids(config: str, cluster: str | None) -> list[str | None]:
    """Return the ids of a cluster: the upstream filters by id only, so the stored records resolve a name.

    Raises: click.ClickException, if no stored record names it.
    """
    if cluster is None or UUID.fullmatch(cluster):
        return [cluster]
    from actionwatch.queries.records import SEARCHED_ONCE
    from actionwatch.store import record_search, records

    remedy = "the upstream takes only the id of a cluster: see 'actionwatch records list -o json'"
    try:
        with reading_store(config) as (_, connection):
            since = record_search.time_of_nth(connection, SEARCHED_ONCE, None)
            known = records.read_cluster_ids(connection, since)
    except StoreMissing as exc:
        raise click.ClickException(f"{exc}; without a store, no name is known, and {remedy}") from exc
    found = [each for name, ids in known.items() if canonical(name) == canonical(cluster) for each in ids]
    if found:
        return [*found]
    if any(cluster in ids for ids in known.values()):
        return [cluster]
    raise click.ClickException(
        f"no stored record names the cluster {cluster}: {did_you_mean(cluster, known) or remedy}"
    )


def _query(wanted: RecordFilter, cluster_id: str | None) -> Query:
    return Query(
        start=wanted.since,
        end=wanted.until,
        kinds=tuple(wanted.kinds),
        keyword=wanted.keyword,
        account=wanted.account,
        cluster_id=cluster_id,
        operations=tuple(wanted.operations),
        scope=wanted.scope,
        user_name=wanted.user,
    )


def _found(client: Client, query: Query, limit: int | None) -> Iterator[Record]:
    size = min(limit or _PAGE_SIZE, _PAGE_SIZE)
    for page in client.user_actions(query, page_size=size, in_flight=1 if limit else 4):
        yield from (record for record in page.records if query.matches(record, client.reader.known_accounts))


def _print_counts(client: Client, queries: Sequence[Query], form: str) -> None:
    counts: Counter[str] = Counter()
    for query in queries:
        page = client.counts(query)
        if page.counts is None:
            raise click.ClickException("the upstream returned no counts: omit --counts and count the listed actions")
        # An undocumented kind is not sent: the upstream would ignore the filter and return everything.
        counts.update({kind: count for kind, count in page.counts.items() if not query.kinds or kind in query.kinds})
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    print_document(counts, form, as_text=lambda: print_table(("kind", "count"), rows, nothing="no matching actions"))

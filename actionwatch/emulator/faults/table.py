"""All faults, one line each: what it changes, its argument, and what it does.

The order is that of composition: the first is nearest to the log, the last is nearest to the client.
"""

from dataclasses import replace
from typing import Annotated, Final

import msgspec

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults import entries, envelopes, queries, records, responses, transport
from actionwatch.emulator.faults.kinds import (
    FaultKind,
    OnArrival,
    OnEntries,
    instead,
    on_envelope,
    on_query,
    on_record,
    on_row,
    on_select,
    on_shape,
    on_the_way,
)
from actionwatch.emulator.log import DEFAULT_PAGE_SIZE

_Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Few = Annotated[int, msgspec.Meta(ge=2, le=1000)]
_ServerError = Annotated[int, msgspec.Meta(ge=500, le=599)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

# ruff: noqa: E501  # a fault is a line, so that the list reads as one
# fmt: off
FAULTS: Final[dict[str, FaultKind]] = {
    # The log
    "coarse_time": FaultKind(OnArrival(entries.coarsen), "new records get a coarser time, so that many have the same time", Duration, Duration(seconds=1)),
    "twins": FaultKind(OnArrival(entries.double), "new records are logged several times, as identical records", _Few, 2),
    "late": FaultKind(OnArrival(entries.delay), "new records become visible this long after their time", entries.Late),
    "vanish": FaultKind(OnEntries(entries.vanishing), "all or some entries disappear permanently, at an age or at once", entries.Vanish),
    # The query
    "bounds_truncated": FaultKind(on_query(queries.truncate_bounds), "both bounds are rounded down to a unit", Duration, Duration(seconds=1)),
    "bounds": FaultKind(on_query(lambda query, form: queries.BOUNDS[form](query)), "bounds of the window are inclusive or exclusive, after they were rounded", queries.BOUNDS),
    "times_ignored": FaultKind(on_query(lambda query, which: queries.UNBOUNDED[which](query)), "bounds are ignored", queries.UNBOUNDED, "both"),
    "filter_ignored": FaultKind(on_query(lambda query, which: replace(query, wanted=queries.UNFILTERED[which](query.wanted))), "a filter is ignored", queries.UNFILTERED, "all"),
    "page_clamped": FaultKind(on_query(lambda query, size: replace(query, limit=min(query.limit, size))), "the maximum page size", _Positive, 100),
    "page_size_ignored": FaultKind(on_query(lambda query, _: replace(query, limit=DEFAULT_PAGE_SIZE)), "`pageSize` is ignored"),
    "index_ignored": FaultKind(on_query(lambda query, _: replace(query, offset=0)), "`recordIndex` is ignored: every page is the first"),
    "index_of_pages": FaultKind(on_query(lambda query, _: replace(query, offset=query.offset * query.limit)), "`recordIndex` counts pages instead of records"),
    "counts_always": FaultKind(on_query(lambda query, _: replace(query, with_counts=True)), "counts are sent even if declined"),
    # The page
    "order": FaultKind(on_select(entries.order), "the order: `shuffled` is stable, `reshuffled` and `ties` (equal times) change with each request", entries.ORDERS),
    "appear": FaultKind(on_select(entries.appear, counts="walks"), "records are logged directly after a page of a walk", entries.Appear),
    # A record
    "names_rewritten": FaultKind(on_record(records.rewrite_names), "accounts and clusters are renamed: this is appended to their names", Text, " (renamed)"),
    "id": FaultKind(on_row(lambda record, row, name: {name: records.new_id(row), **record}), "records have an id with this field name", records.ID_NAMES, "id"),
    "id_repeated": FaultKind(on_row(lambda record, row, size: {"id": records.new_id(f"shared {row // size}"), **record}), "records have an `id` that this many records share", _Few, 2),
    "operation_name": FaultKind(on_record(records.add_operation), "records have their operation with this field name; `bare`: without its prefix", records.OPERATION_NAMES, "crudOperation"),
    "time_form": FaultKind(on_record(records.write_time), "the form of times", records.TIME_FORMS),
    "time_name": FaultKind(on_record(records.rename("timestamp")), "the field name of the time", records.TIME_NAMES),
    "action_label": FaultKind(on_record(records.label), "kinds are labels, such as `Create cluster`", records.LABELS, "words"),
    "action_name": FaultKind(on_record(records.rename("action")), "the field name of the kind", records.ACTION_NAMES),
    "user_name": FaultKind(on_record(records.rename("userName")), "the field name of the user; `a.b`: an object", records.USER_NAMES),
    "description_name": FaultKind(on_record(records.rename("description")), "the field name of the description", records.DESCRIPTION_NAMES),
    "account": FaultKind(on_record(records.name("account")), "how accounts are given", records.NAMINGS),
    "cluster": FaultKind(on_record(records.name("cluster")), "how clusters are given", records.NAMINGS),
    "organisation": FaultKind(on_record(records.name_organisation), "the field names of the organisation", records.ORGANISATION_NAMES),
    "domain_name": FaultKind(on_record(records.rename("domainType")), "the field name of the domain type", records.DOMAIN_NAMES),
    "unknown_field": FaultKind(on_record(lambda record, name: {**record, name: records.NESTED}), "records have an unknown field with this name and nested values", Text, "correlationData"),
    "nulls_dropped": FaultKind(on_record(lambda record, _: {key: value for key, value in record.items() if value is not None}), "fields without a value are missing"),
    "field_case": FaultKind(on_record(lambda record, case: {records.CASES[case](key): value for key, value in record.items()}), "the case of all field names", records.CASES),
    # The envelope
    "odd_record": FaultKind(on_envelope(lambda envelope, _, form: envelopes.add_odd_record(envelope, form)), "the list of records contains an item that is not a record", envelopes.ODD_RECORDS),
    "total": FaultKind(on_envelope(envelopes.total), "`totalResults` is wrong, of another type, or missing", (*envelopes.TOTALS, records.ABSENT)),
    "counts": FaultKind(on_envelope(envelopes.count), "counts are wrong, lists, or missing", (*envelopes.COUNTS, records.ABSENT)),
    "counts_name": FaultKind(on_envelope(lambda envelope, _, name: {name if key == "actionCounts" else key: value for key, value in envelope.items()}), "the name of the counts", Text, "counts"),
    "indices_absent": FaultKind(on_envelope(lambda envelope, *_: records.without(envelope, "startIndex", "itemsPerPage")), "`startIndex` and `itemsPerPage` are missing"),
    "resources": FaultKind(on_envelope(lambda envelope, _, form: envelopes.move_resources(envelope, form)), "`resources` has another name, is null, or is missing", envelopes.RESOURCES),
    "envelope": FaultKind(on_shape(lambda envelope, _, form: envelopes.SHAPES[form](envelope)), "the shape around the envelope; `records`: no envelope; `empty_list`: `[]` if there are no records", envelopes.SHAPES),
    # Responses instead of the API's
    "rate_limited": FaultKind(instead(responses.rate_limited), "429", responses.Limited),
    "error": FaultKind(instead(lambda _, play: responses.failure(play.arg.status, play.arg.body, retry_after=play.arg.retry_after)), "a status from 400 to 599, with different bodies", responses.ErrorResponse),
    "gateway_page": FaultKind(instead(lambda _, play: responses.failure(play.arg, "html")), "the HTML page of a gateway", _ServerError, 502),
    "unauthorised": FaultKind(instead(lambda *_: responses.unauthorised()), "401 with an empty body"),
    "forbidden": FaultKind(instead(lambda _, play: responses.failure(403, play.arg, "Access denied")), "403", responses.BODIES, "status"),
    "redirect": FaultKind(instead(responses.redirect), "a redirect to the same path on another host", responses.Elsewhere),
    "wrong_answer": FaultKind(instead(responses.wrong_answer), "200 with a body that is not a page", responses.WRONG_ANSWERS),
    # The transport
    "clock": FaultKind(on_the_way(transport.dated), "the offset of `Date` (`-90s`: behind)", Duration),
    "no_date": FaultKind(on_the_way(transport.dated), "no `Date`"),
    "gzip": FaultKind(on_the_way(transport.packed), "the body is compressed, with or without errors", transport.PACKINGS),
    "oversize": FaultKind(on_the_way(transport.oversize), "this many MiB of spaces before the body; `packed`: a gzip bomb", transport.Oversize),
    "truncated": FaultKind(on_the_way(transport.truncated), "the connection closes after half the body", ("length", "chunked"), "length"),
    "reset": FaultKind(on_the_way(transport.reset, is_answered=lambda where: where != "request"), "the connection is reset", ("request", "headers", "body"), "request"),
    "dropped": FaultKind(on_the_way(transport.dropped, is_answered=lambda _: False), "the connection closes without a response"),
    "not_http": FaultKind(on_the_way(transport.not_http, is_answered=lambda _: False), "the response is not HTTP"),
    "slow": FaultKind(on_the_way(transport.dripping), "the body is sent slowly", transport.Drip),
    "hang": FaultKind(on_the_way(transport.hanging, is_answered=transport.is_answered), "the response stops for some time, or permanently", transport.Hang),
}
# fmt: on

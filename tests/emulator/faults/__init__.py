"""The faults that only tests use, one line each, in addition to those of the emulator.

They are variants of responses that the documentation leaves open, and what a network does to them. Importing this package adds them.
"""

from dataclasses import replace
from typing import Annotated, Final

import msgspec

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults.kinds import FaultKind, Layer, OnArrival, instead, on_select, on_shape, on_the_way
from actionwatch.emulator.faults.responses import BODIES, failure
from actionwatch.emulator.faults.table import FAULTS
from actionwatch.emulator.faults.transport import dated
from actionwatch.emulator.log import DEFAULT_PAGE_SIZE
from tests.emulator.faults import envelopes, log, queries, records, responses, transport
from tests.emulator.faults.layers import on_envelope, on_query, on_record, on_row

_Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Few = Annotated[int, msgspec.Meta(ge=2, le=1000)]
_ServerError = Annotated[int, msgspec.Meta(ge=500, le=599)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

SHIPPED: Final = tuple(FAULTS)
# ruff: noqa: E501  # a fault is a line, so that the list reads as one
# fmt: off
FAULTS.update({
    "coarse_time": FaultKind(OnArrival(log.coarsen, Layer.ACTION), "new records get a coarser time, so that many have the same time", Duration, Duration(seconds=1)),
    "twins": FaultKind(OnArrival(log.double, Layer.ACTION), "new records are logged several times, as identical records", _Few, 2),
    "bounds_truncated": FaultKind(on_query(queries.truncate_bounds), "both bounds are rounded down to a unit", Duration, Duration(seconds=1)),
    "bounds": FaultKind(on_query(lambda query, form: queries.BOUNDS[form](query)), "bounds of the window are inclusive or exclusive, after they were rounded", queries.BOUNDS),
    "times_ignored": FaultKind(on_query(lambda query, which: queries.UNBOUNDED[which](query)), "bounds are ignored", queries.UNBOUNDED, "both"),
    "filter_ignored": FaultKind(on_query(lambda query, which: replace(query, wanted=queries.UNFILTERED[which](query.wanted))), "a filter is ignored", queries.UNFILTERED, "all"),
    "page_clamped": FaultKind(on_query(lambda query, size: replace(query, limit=min(query.limit, size))), "the maximum page size", _Positive, 100),
    "page_size_ignored": FaultKind(on_query(lambda query, _: replace(query, limit=DEFAULT_PAGE_SIZE)), "`pageSize` is ignored"),
    "index_ignored": FaultKind(on_query(lambda query, _: replace(query, offset=0)), "`recordIndex` is ignored: every page is the first"),
    "index_of_pages": FaultKind(on_query(lambda query, _: replace(query, offset=query.offset * query.limit)), "`recordIndex` counts pages instead of records"),
    "counts_always": FaultKind(on_query(lambda query, _: replace(query, with_counts=True)), "counts are sent even if declined"),
    "appear": FaultKind(on_select(log.appear, counts="walks"), "records are logged directly after a page of a walk", log.Appear),
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
    "odd_record": FaultKind(on_envelope(lambda envelope, _, form: envelopes.add_odd_record(envelope, form)), "the list of records contains an item that is not a record", envelopes.ODD_RECORDS),
    "counts": FaultKind(on_envelope(envelopes.count), "counts are wrong, lists, or missing", (*envelopes.COUNTS, records.ABSENT)),
    "counts_name": FaultKind(on_envelope(lambda envelope, _, name: {name if key == "actionCounts" else key: value for key, value in envelope.items()}), "the name of the counts", Text, "counts"),
    "indices_absent": FaultKind(on_envelope(lambda envelope, *_: records.without(envelope, "startIndex", "itemsPerPage")), "`startIndex` and `itemsPerPage` are missing"),
    "resources": FaultKind(on_envelope(lambda envelope, _, form: envelopes.move_resources(envelope, form)), "`resources` has another name, is null, or is missing", envelopes.RESOURCES),
    "envelope": FaultKind(on_shape(lambda envelope, _, form: envelopes.SHAPES[form](envelope)), "the shape around the envelope; `records`: no envelope; `empty_list`: `[]` if there are no records", envelopes.SHAPES),
    "gateway_page": FaultKind(instead(lambda _, play: failure(play.arg, "html")), "the HTML page of a gateway", _ServerError, 502),
    "forbidden": FaultKind(instead(lambda _, play: failure(403, play.arg, "Access denied")), "403", BODIES, "status"),
    "redirect": FaultKind(instead(responses.redirect), "a redirect to the same path on another host", responses.Elsewhere),
    "wrong_answer": FaultKind(instead(responses.wrong_answer), "200 with a body that is not a page", responses.WRONG_ANSWERS),
    "no_date": FaultKind(on_the_way(dated, Layer.HEADERS), "no `Date`"),
    "gzip": FaultKind(on_the_way(transport.packed, Layer.BODY), "the body is compressed, with or without errors", transport.PACKINGS),
    "oversize": FaultKind(on_the_way(transport.oversize, Layer.BODY), "this many MiB of spaces before the body; `packed`: a gzip bomb", transport.Oversize),
    "truncated": FaultKind(on_the_way(transport.truncated, Layer.CONNECTION), "the connection closes after half the body", ("length", "chunked"), "length"),
    "reset": FaultKind(on_the_way(transport.reset, Layer.CONNECTION, is_answered=lambda where: where != "request"), "the connection is reset", ("request", "headers", "body"), "request"),
    "dropped": FaultKind(on_the_way(transport.dropped, Layer.CONNECTION, is_answered=lambda _: False), "the connection closes without a response"),
    "not_http": FaultKind(on_the_way(transport.not_http, Layer.CONNECTION, is_answered=lambda _: False), "the response is not HTTP"),
})
# fmt: on

"""Every fault there is, a line each: what it takes hold of, what it may be told, what it does.

The order is that of composition: what comes first is nearer to the log, what comes last is nearer to the client.
"""

from typing import Annotated, Final

import msgspec

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults import answers, entries, envelopes, queries, records, transport
from actionwatch.emulator.faults.kinds import (
    FaultKind,
    OnArrival,
    OnEntries,
    instead,
    on_envelope,
    on_query,
    on_record,
    on_select,
    on_shape,
    on_the_way,
)

Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Few = Annotated[int, msgspec.Meta(ge=2, le=1000)]
ServerError = Annotated[int, msgspec.Meta(ge=500, le=599)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

# ruff: noqa: E501  # a fault is a line, so that the list reads as one
# fmt: off
FAULTS: Final[dict[str, FaultKind]] = {
    # The log
    "coarse_time": FaultKind(OnArrival(entries.coarsen), "records logged meanwhile get a coarser time: equal instants", Duration, Duration(seconds=1)),
    "twins": FaultKind(OnArrival(entries.double), "records logged meanwhile are logged several times: true duplicates", Few, 2),
    "late": FaultKind(OnArrival(entries.delay), "records logged meanwhile become visible only so long after their time", entries.Late),
    "vanish": FaultKind(OnEntries(entries.vanishing), "entries disappear for good, at an age or at once, all or some", entries.Vanish),
    # The question
    "bounds": FaultKind(on_query(queries.bound), "a bound of the window is excluded", queries.BOUNDS),
    "bounds_truncated": FaultKind(on_query(queries.truncate_bounds), "both bounds are cut down to a whole unit", Duration, Duration(seconds=1)),
    "times_ignored": FaultKind(on_query(queries.ignore_times), "bounds are ignored", queries.UNBOUNDED, "both"),
    "filter_ignored": FaultKind(on_query(queries.ignore_filter), "a filter is ignored", queries.UNFILTERED, "all"),
    "page_clamped": FaultKind(on_query(queries.clamp_page), "a page holds no more than this", Positive, 100),
    "page_size_ignored": FaultKind(on_query(queries.ignore_page_size), "pages have the default size"),
    "index_ignored": FaultKind(on_query(queries.ignore_index), "the first page comes for ever"),
    "counts_always": FaultKind(on_query(queries.always_count), "counts come though declined"),
    # The page
    "order": FaultKind(on_select(entries.order), "order: `shuffled` stays, `reshuffled` and `ties` (equal instants) change with each request", entries.ORDERS),
    "appear": FaultKind(on_select(entries.appear, counts="walks"), "records are logged right after a page of a walk", entries.Appear),
    # A record
    "names_rewritten": FaultKind(on_record(records.rewrite_names), "accounts and clusters have been renamed: their names end in this", Text, " (renamed)"),
    "id": FaultKind(on_record(records.add_id), "records have an id, under this name", records.ID_NAMES, "id"),
    "id_repeated": FaultKind(on_record(records.add_repeated_id), "records have an `id` that so many share", Few, 2),
    "operation_name": FaultKind(on_record(records.add_operation), "records tell their operation, under this name; `bare`: without its prefix", records.OPERATION_NAMES, "crudOperation"),
    "time_form": FaultKind(on_record(records.write_time), "how a time is written", records.TIME_FORMS),
    "time_name": FaultKind(on_record(records.rename("timestamp")), "what the time is called", records.TIME_NAMES),
    "action_label": FaultKind(on_record(records.label), "kinds are labels, such as `Create cluster`", records.LABELS, "words"),
    "action_name": FaultKind(on_record(records.rename("action")), "what the kind is called", records.ACTION_NAMES),
    "user_name": FaultKind(on_record(records.rename("userName")), "what the user is called; `a.b`: an object", records.USER_NAMES),
    "description_name": FaultKind(on_record(records.rename("description")), "what the description is called", records.DESCRIPTION_NAMES),
    "account": FaultKind(on_record(records.name("account")), "how an account is named", records.NAMINGS),
    "cluster": FaultKind(on_record(records.name("cluster")), "how a cluster is named", records.NAMINGS),
    "organisation": FaultKind(on_record(records.name_organisation), "how the organisation is spelt", records.ORGANISATION_NAMES),
    "domain_name": FaultKind(on_record(records.rename("domainType")), "what the domain type is called", records.DOMAIN_NAMES),
    "unknown_field": FaultKind(on_record(records.add_field), "records have a further field of this name, with nested values", Text, "correlationData"),
    "nulls_dropped": FaultKind(on_record(records.drop_nulls), "fields without a value are left out"),
    "field_case": FaultKind(on_record(records.change_case), "the case of all field names", records.CASES),
    # The envelope
    "odd_record": FaultKind(on_envelope(envelopes.add_odd_record), "among the records is something that is none", envelopes.ODD_RECORDS),
    "total": FaultKind(on_envelope(envelopes.total), "`totalResults` is wrong, of another type, or not there", (*envelopes.TOTALS, records.ABSENT)),
    "counts": FaultKind(on_envelope(envelopes.count), "counts are wrong, lists, or not there", (*envelopes.COUNTS, records.ABSENT)),
    "counts_name": FaultKind(on_envelope(envelopes.move_counts), "what the counts are called", Text, "counts"),
    "indices_absent": FaultKind(on_envelope(envelopes.drop_indices), "`startIndex` and `itemsPerPage` are not there"),
    "resources": FaultKind(on_envelope(envelopes.move_resources), "`resources` has another name, is null, or is not there", envelopes.RESOURCES),
    "envelope": FaultKind(on_shape(envelopes.shape), "what the envelope is wrapped in; `records`: no envelope; `empty_list`: `[]` when empty", envelopes.SHAPES),
    # Answers in place of the API's
    "rate_limited": FaultKind(instead(answers.rate_limited), "429", answers.Limited),
    "error": FaultKind(instead(answers.fail), "a status from 400 to 599 with each form of body", answers.ErrorResponse),
    "gateway_page": FaultKind(instead(answers.gateway_page), "the HTML page of a gateway", ServerError, 502),
    "unauthorised": FaultKind(instead(answers.unauthorised), "401 with an empty body"),
    "forbidden": FaultKind(instead(answers.forbidden), "403", answers.BODIES, "status"),
    "redirect": FaultKind(instead(answers.redirect), "to the same path on another host", answers.Elsewhere),
    "wrong_answer": FaultKind(instead(answers.wrong_answer), "200 with something that is no log", answers.WRONG_ANSWERS),
    # The way
    "clock": FaultKind(on_the_way(lambda play: transport.dated(play.clock, play.arg)), "`Date` is off by this (`-90s`: behind)", Duration),
    "no_date": FaultKind(on_the_way(lambda play: transport.dated(play.clock, None)), "no `Date`"),
    "gzip": FaultKind(on_the_way(lambda play: transport.packed(play.arg)), "the body is packed, soundly or not", transport.PACKINGS),
    "oversize": FaultKind(on_the_way(lambda play: transport.oversize(play.arg)), "so many MiB of blanks before the body; `packed`: a gzip bomb", transport.Oversize),
    "truncated": FaultKind(on_the_way(lambda play: transport.truncated(play.arg)), "half the body, then the end of the connection", ("length", "chunked"), "length"),
    "reset": FaultKind(on_the_way(lambda play: transport.reset(play.arg), is_answered=lambda where: where != "request"), "the connection is reset", ("request", "headers", "body"), "request"),
    "dropped": FaultKind(on_the_way(lambda _: transport.ended(b""), is_answered=lambda _: False), "the connection is closed without an answer"),
    "not_http": FaultKind(on_the_way(lambda _: transport.ended(b"SSH-2.0-OpenSSH_9.9\r\n"), is_answered=lambda _: False), "the answer is not HTTP"),
    "slow": FaultKind(on_the_way(lambda play: transport.dripping(play.arg)), "the body drips", transport.Drip),
    "hang": FaultKind(on_the_way(lambda play: transport.hanging(play.arg), is_answered=transport.is_answered), "the answer stops for a while, or for good", transport.Hang),
}
# fmt: on

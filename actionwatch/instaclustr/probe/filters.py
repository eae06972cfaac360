"""Check whether the upstream applies each filter, with a value that only some records of the sample have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actionwatch.base.errors import SourceError
from actionwatch.base.model import Record
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.kinds import ACCOUNT, KINDS, OPERATIONS, ORGANISATION
from actionwatch.instaclustr.probe.client import ProbeClient, ProbedPage, refusal
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fine, joined, unsettled
from actionwatch.instaclustr.probe.sample import LARGE, Sample, claimed
from actionwatch.instaclustr.query import Query, crud_values

_SIZE = 100
_WORD = re.compile(r"[A-Za-z]{4,}")
_OURS = "only `actions` and `backtest --from upstream` use it, and actionwatch filters again; the tail does not use it"


@dataclass(frozen=True, slots=True)
class _FilterCheck:
    """One filter: its subject, its parameter, and how to get a value from a record."""

    subject: str
    parameter: str
    value: Callable[[Record], str | None]
    query: Callable[[str], Query]


def _documented_kind(record: Record) -> str | None:
    return record.action_kind if record.action_kind in KINDS else None


_CHECKS = (
    _FilterCheck("actionKinds", "actionKinds", _documented_kind, lambda v: Query(kinds=(v,))),
    _FilterCheck("userName", "userName", lambda r: r.user_name, lambda v: Query(user_name=v)),
    _FilterCheck("account by id", "account", lambda r: r.account.id, lambda v: Query(account=v)),
    _FilterCheck("account by name", "account", lambda r: r.account.name, lambda v: Query(account=v)),
    _FilterCheck("clusterId", "clusterId", lambda r: r.cluster.id, lambda v: Query(cluster_id=v)),
)


def filters(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Check every filter with one value."""
    findings = [_try(client, sample, check) for check in _CHECKS]
    return [*findings, _keyword(client, sample), *_undocumented(client, sample), *_several_kinds(client, sample)]


def partition(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Request the log of the organisation and that of the accounts: together they must be the whole log."""
    subject = "organisationLogsOnly, accountLogsOnly"
    if not sample.records:
        return [unsettled(subject, "the log has no records")]
    size = _SIZE if sample.is_size_known else LARGE
    parts = [client.page([*sample.window, (name, "true")], size=size) for name in subject.split(", ")]
    if sample.is_size_known:
        organisation, account = (claimed(part) or 0 for part in parts)
        whole = sample.size or claimed(sample.small) or 0
        is_sum = organisation + account == whole
    elif sample.is_whole and all(len(part.records) < size for part in parts):
        organisation, account, whole = len(parts[0].records), len(parts[1].records), len(sample.records)
        is_sum = Counter(parts[0].keys) + Counter(parts[1].keys) == Counter(sample.large.keys)
    else:
        return [unsettled(subject, "without totals, only a window of one page can be compared")]
    return [_compare_partition(subject, organisation, account, whole, is_sum=is_sum), *_scopes(parts)]


def operations(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Request each value of `crudOperations`: is it applied, and how does the upstream classify the kinds?"""
    subject = "crudOperations"
    if not sample.records:
        return [unsettled(subject, "the log has no records")]
    seen = {value: client.page([*sample.window, (subject, value)], size=_SIZE) for value in crud_values(OPERATIONS)}
    sizes = [claimed(part) if sample.is_size_known else len(part.records) for part in seen.values()]
    whole = sample.size if sample.is_size_known else min(len(sample.records), _SIZE)
    if all(size == whole for size in sizes):
        return [costly(subject, "ignored: every value returns all records", _OURS)]
    if not any(sizes):
        return [costly(subject, "no value returns any record, although there are records", _OURS)]
    total = sum(size or 0 for size in sizes)
    covers = "together they cover the log" if total == whole else "together they do not cover the log"
    findings = [fine(subject, f"applied; {covers}" if sample.is_size_known or sample.is_whole else "applied", _OURS)]
    return [*findings, _classes(seen)]


def _try(client: ProbeClient, sample: Sample, check: _FilterCheck) -> ProbeFinding:
    """Request the rarest value of the field of a filter."""
    values = Counter(value for record in sample.records if (value := check.value(record)))
    if not values:
        return unsettled(check.subject, "no record of the sample has one")
    value, count = values.most_common()[-1]
    if count == len(sample.records):
        return unsettled(check.subject, "all records of the sample have the same value")
    return _check(client, sample, check.subject, [(check.parameter, value)], check.query(value))


def _check(
    client: ProbeClient, sample: Sample, subject: str, asked: list[tuple[str, str]], query: Query
) -> ProbeFinding:
    """Compare the records that a filter returns with those of the sample that satisfy it."""
    accounts = client.reader.known_accounts
    expected = sum(query.matches(record, accounts) for record in sample.records)
    try:
        seen = client.page([*sample.window, *asked], size=_SIZE)
    except SourceError as exc:
        return costly(subject, f"cannot be requested: {refusal(exc)}", _OURS)
    unwanted = sum(not query.matches(record, accounts) for record in seen.records)
    if unwanted and seen.keys == sample.large.keys[: len(seen.keys)]:
        return costly(subject, "ignored: all records are returned", _OURS)
    if unwanted:
        return costly(subject, "also returns records that do not satisfy it", _OURS)
    if not seen.records:
        return costly(subject, "returns no record, although records satisfy it", _OURS)
    if sample.is_whole and len(seen.records) < min(expected, _SIZE) and len(seen.records) != 1:
        return costly(subject, "returns only some of the records that satisfy it", f"{_OURS}: they would miss records")
    return fine(subject, "applied", _OURS)


def _keyword(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Request a word that is in only some descriptions."""
    subject, records = "descriptionKeyword", sample.records[:200]
    words = {word for record in records for word in _WORD.findall(record.description or "")}
    shares = {
        word: sum(word.casefold() in (r.description or "").casefold() for r in sample.records)
        for word in sorted(words)[:500]
    }
    fitting = [word for word, count in shares.items() if count < len(sample.records)]
    if not fitting:
        return unsettled(subject, "no word is in only some descriptions")
    word = min(fitting, key=lambda one: shares[one])
    return _check(client, sample, subject, [(subject, word)], Query(keyword=word))


def _undocumented(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Request an undocumented kind of the sample: is the filter applied?"""
    kinds = Counter(kind for r in sample.records if (kind := r.action_kind) not in KINDS and kind.isidentifier())
    if not kinds:
        return []
    kind, count = kinds.most_common()[-1]
    if count == len(sample.records):
        return []
    return [_check(client, sample, "actionKinds, undocumented", [("actionKinds", kind)], Query(kinds=(kind,)))]


def _several_kinds(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    found_kinds = Counter(record.action_kind for record in sample.records if record.action_kind in KINDS)
    if len(found_kinds) < 3:
        return []
    kinds = [kind for kind, _ in found_kinds.most_common()[:-3:-1]]
    query, asked = Query(kinds=tuple(kinds)), [("actionKinds", kind) for kind in kinds]
    found = _check(client, sample, "actionKinds, several", asked, query)
    if found.says != "applied":
        return [found]
    seen = client.page([*sample.window, *asked], size=_SIZE)
    came = {record.action_kind for record in seen.records}
    if len(seen.records) < _SIZE and came != set(kinds):
        return [costly(found.subject, "only one of several kinds is applied", f"{_OURS}: they would miss records")]
    return [found]


def _compare_partition(subject: str, organisation: int, account: int, whole: int, *, is_sum: bool) -> ProbeFinding:
    means = "without totals and counts, actionwatch confirms two walks with it once a day"
    if is_sum:
        return fine(subject, "both applied: together they are exactly the whole log", means)
    if organisation == account == whole:
        says = "both ignored: each returns all records"
    elif whole in (organisation, account):
        name = subject.split(", ")[0 if organisation == whole else 1]
        says = f"{name} is ignored, or all records are of one level"
    else:
        what = "some records are in neither" if organisation + account < whole else "some records are in both"
        says = f"together they are not the whole log: {what}"
    return costly(subject, says, f"no cross-check is possible: {means}")


def _scopes(parts: list[ProbedPage]) -> list[ProbeFinding]:
    of_organisation, of_account = (_kinds(part) for part in parts)
    if not of_organisation or not of_account or of_organisation == of_account:
        return []
    odd = [kind for kind in of_organisation - of_account if kind in KINDS and KINDS[kind].scope == ACCOUNT]
    odd += [kind for kind in of_account - of_organisation if kind in KINDS and KINDS[kind].scope == ORGANISATION]
    means = "the scope in a record takes precedence over the catalogue"
    says = f"different from the catalogue: {joined(sorted(odd))}" if odd else "as in the catalogue, for the kinds found"
    return [fine("scope of kinds", says, means)]


def _classes(seen: dict[str, ProbedPage]) -> ProbeFinding:
    odd: dict[str, str] = {}
    classed: set[str] = set()
    for value, part in seen.items():
        operation = value.rpartition("_")[2]
        for kind in _kinds(part):
            classed.add(kind)
            if kind in KINDS and KINDS[kind].operation != operation:
                odd[kind] = operation
    words = [f"{kind} is {operation} upstream" for kind, operation in sorted(odd.items())]
    says = joined(words) if odd else f"as in the catalogue, for the {counted(len(classed), 'kind')} found"
    return fine("operation of kinds", says, "the operation in a record takes precedence over the catalogue")


def _kinds(seen: ProbedPage) -> set[str]:
    """Return the kinds of a response, from its counts or else from its records."""
    counts = seen.page.counts
    found: Iterable[str] = [k for k, n in counts.items() if n] if counts else [r.action_kind for r in seen.records]
    return set(found)

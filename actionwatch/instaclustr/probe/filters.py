"""Whether each filter is honoured: asked for something that some of the sample have and others have not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actionwatch.base.errors import SourceError
from actionwatch.base.model import Record
from actionwatch.instaclustr.kinds import ACCOUNT, KINDS, OPERATIONS, ORGANISATION
from actionwatch.instaclustr.probe.client import ProbeClient, ProbedPage, Refusal
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fine, joined, unsettled
from actionwatch.instaclustr.probe.sample import LARGE, Sample, claimed
from actionwatch.instaclustr.query import Query

SIZE = 100
WORD = re.compile(r"[A-Za-z]{4,}")
OURS = "only `actions` and `backtest --from upstream` ask with it, and filter again here; the tail does not"
CRUD = (
    *(f"ACCOUNT_LEVEL_USER_ACTIONS_{operation}" for operation in OPERATIONS),
    *(f"ORG_LEVEL_USER_ACTIONS_{operation}" for operation in OPERATIONS if operation != "READ"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """One filter: the parameter, what it is called here, and what it could be asked for in a record."""

    subject: str
    parameter: str
    value: Callable[[Record], str | None]
    query: Callable[[str], Query]


QUESTIONS = (
    Question(
        "actionKinds",
        "actionKinds",
        lambda r: r.action_kind if r.action_kind in KINDS else None,
        lambda v: Query(kinds=(v,)),
    ),
    Question("userName", "userName", lambda r: r.user_name, lambda v: Query(user_name=v)),
    Question("account by id", "account", lambda r: r.account.id, lambda v: Query(account=v)),
    Question("account by name", "account", lambda r: r.account.name, lambda v: Query(account=v)),
    Question("clusterId", "clusterId", lambda r: r.cluster.id, lambda v: Query(cluster_id=v)),
)


def filters(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Try every filter that names one value."""
    findings = [_try(asker, sample, question) for question in QUESTIONS]
    return [*findings, _keyword(asker, sample), *_undocumented(asker, sample), *_several_kinds(asker, sample)]


def partition(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Ask for the organisation's log and for the accounts' alone: together they must be the whole."""
    subject = "organisationLogsOnly, accountLogsOnly"
    if not sample.records:
        return [unsettled(subject, "the log shows no records")]
    size = SIZE if sample.is_size_told else LARGE
    parts = [asker.page([*sample.window, (name, "true")], size=size) for name in subject.split(", ")]
    if sample.is_size_told:
        organisation, account = (claimed(part) or 0 for part in parts)
        whole = sample.size or claimed(sample.small) or 0
        is_sum = organisation + account == whole
    elif sample.is_whole and all(len(part.records) < size for part in parts):
        organisation, account, whole = len(parts[0].records), len(parts[1].records), len(sample.records)
        is_sum = Counter(parts[0].keys) + Counter(parts[1].keys) == Counter(sample.large.keys)
    else:
        return [unsettled(subject, "without totals, a window longer than a page cannot be compared")]
    return [_judge_partition(subject, organisation, account, whole, is_sum=is_sum), *_scopes(parts)]


def operations(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Ask for each value of `crudOperations`: is it honoured, and how does the upstream class each kind?"""
    subject = "crudOperations"
    if not sample.records:
        return [unsettled(subject, "the log shows no records")]
    seen = {value: asker.page([*sample.window, (subject, value)], size=SIZE) for value in CRUD}
    sizes = [claimed(part) if sample.is_size_told else len(part.records) for part in seen.values()]
    whole = sample.size if sample.is_size_told else min(len(sample.records), SIZE)
    if all(size == whole for size in sizes):
        return [costly(subject, "it is ignored: every value brings everything", OURS)]
    if not any(sizes):
        return [costly(subject, "no value brings anything, although there are records", OURS)]
    total = sum(size or 0 for size in sizes)
    covers = "together they are the whole" if total == whole else "together they are not the whole"
    findings = [fine(subject, f"honoured; {covers}" if sample.is_size_told or sample.is_whole else "honoured", OURS)]
    return [*findings, _classes(seen)]


def _try(asker: ProbeClient, sample: Sample, question: Question) -> ProbeFinding:
    """Ask for the rarest value of a filter's field that not all records have."""
    values = Counter(value for record in sample.records if (value := question.value(record)))
    if not values:
        return unsettled(question.subject, "no record of the sample tells one")
    value, count = values.most_common()[-1]
    if count == len(sample.records):
        return unsettled(question.subject, "all records of the sample have the same")
    return _judge(asker, sample, question.subject, [(question.parameter, value)], question.query(value))


def _judge(
    asker: ProbeClient, sample: Sample, subject: str, asked: list[tuple[str, str]], query: Query
) -> ProbeFinding:
    """Compare what a filter brings with what of the sample it should."""
    accounts = asker.reader.known_accounts
    expected = sum(query.matches(record, accounts) for record in sample.records)
    try:
        seen = asker.page([*sample.window, *asked], size=SIZE)
    except SourceError as exc:
        return costly(subject, f"cannot be asked: {Refusal(exc)}", OURS)
    strangers = sum(not query.matches(record, accounts) for record in seen.records)
    if strangers and seen.keys == sample.large.keys[: len(seen.keys)]:
        return costly(subject, "it is ignored: everything comes", OURS)
    if strangers:
        return costly(subject, "records come that do not have it, among those that do", OURS)
    if not seen.records:
        return costly(subject, "it brings nothing, although records have it", OURS)
    if sample.is_whole and len(seen.records) < min(expected, SIZE) and len(seen.records) != 1:
        return costly(
            subject, "it brings some of the records that have it, not all", f"{OURS}: they would miss records"
        )
    return fine(subject, "honoured", OURS)


def _keyword(asker: ProbeClient, sample: Sample) -> ProbeFinding:
    """Ask for a word that is in some descriptions only."""
    subject, records = "descriptionKeyword", sample.records[:200]
    words = {word for record in records for word in WORD.findall(record.description or "")}
    shares = {
        word: sum(word.casefold() in (r.description or "").casefold() for r in sample.records)
        for word in sorted(words)[:500]
    }
    fitting = [word for word, count in shares.items() if count < len(sample.records)]
    if not fitting:
        return unsettled(subject, "no description holds a word that the others lack")
    word = min(fitting, key=lambda one: shares[one])
    return _judge(asker, sample, subject, [(subject, word)], Query(keyword=word))


def _undocumented(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Ask for a kind that is seen, but not documented: may the filter be trusted with it?"""
    kinds = Counter(
        r.action_kind for r in sample.records if r.action_kind not in KINDS and r.action_kind.isidentifier()
    )
    if not kinds or kinds.most_common()[-1][1] == len(sample.records):
        return []
    kind = kinds.most_common()[-1][0]
    query = Query(kinds=(kind,))
    return [_judge(asker, sample, "actionKinds, undocumented", [("actionKinds", kind)], query)]


def _several_kinds(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Ask for two kinds at once."""
    kinds = [
        kind
        for kind, _ in Counter(record.action_kind for record in sample.records).most_common()[::-1]
        if kind in KINDS
    ]
    if len(kinds) < 3:
        return []
    query, asked = Query(kinds=tuple(kinds[:2])), [("actionKinds", kind) for kind in kinds[:2]]
    found = _judge(asker, sample, "actionKinds, several", asked, query)
    if found.says != "honoured":
        return [found]
    seen = asker.page([*sample.window, *asked], size=SIZE)
    came = {record.action_kind for record in seen.records}
    if len(seen.records) < SIZE and came != set(kinds[:2]):
        return [costly(found.subject, "only one of several kinds is looked at", f"{OURS}: they would miss records")]
    return [found]


def _judge_partition(subject: str, organisation: int, account: int, whole: int, *, is_sum: bool) -> ProbeFinding:
    means = "where nothing counts, it confirms two walks once a day"
    if is_sum:
        return fine(subject, "both honoured: together they are exactly the whole", means)
    if organisation == account == whole:
        return costly(subject, "both are ignored: each brings everything", f"no cross-check is to be had: {means}")
    if whole in (organisation, account):
        name = subject.split(", ")[0 if organisation == whole else 1]
        return costly(
            subject,
            f"{name} is ignored, or all records are of one kind of log",
            f"no cross-check is to be had: {means}",
        )
    what = "some records are in neither" if organisation + account < whole else "some records are in both"
    return costly(subject, f"together they are not the whole: {what}", f"no cross-check is to be had: {means}")


def _scopes(parts: list[ProbedPage]) -> list[ProbeFinding]:
    """Compare the upstream's idea of which kinds are an organisation's with the catalogue's."""
    of_organisation, of_account = (_kinds(part) for part in parts)
    if not of_organisation or not of_account or of_organisation == of_account:
        return []
    odd = [kind for kind in of_organisation - of_account if kind in KINDS and KINDS[kind].scope == ACCOUNT]
    odd += [kind for kind in of_account - of_organisation if kind in KINDS and KINDS[kind].scope == ORGANISATION]
    told = "where a record tells its scope, that wins over the catalogue"
    if not odd:
        return [fine("scope of kinds", "as the catalogue has it, for the kinds seen", told)]
    return [fine("scope of kinds", f"other than the catalogue has it: {joined(sorted(odd))}", told)]


def _classes(seen: dict[str, ProbedPage]) -> ProbeFinding:
    """Compare the upstream's class of each kind with the catalogue's judgement."""
    odd: dict[str, str] = {}
    classed: set[str] = set()
    for value, part in seen.items():
        operation = value.rpartition("_")[2]
        for kind in _kinds(part):
            classed.add(kind)
            if kind in KINDS and KINDS[kind].operation != operation:
                odd[kind] = operation
    words = [f"{kind} is {operation} upstream" for kind, operation in sorted(odd.items())]
    means = "where a record tells its operation, that wins over the catalogue"
    if odd:
        return fine("operation of kinds", joined(words), means)
    return fine("operation of kinds", f"as the catalogue has it, for the {len(classed)} kinds seen", means)


def _kinds(seen: ProbedPage) -> set[str]:
    """Return the kinds of an answer: those counted, else those of its records."""
    counts = seen.page.counts
    found: Iterable[str] = [k for k, n in counts.items() if n] if counts else [r.action_kind for r in seen.records]
    return set(found)

"""How the upstream behaves around its answers: its clock, its limits, its speed, its refusals, and the linked accounts."""

from __future__ import annotations

import re
from datetime import timedelta
from statistics import median

from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import BadResponse, SourceError
from actionwatch.instaclustr.client import read_accounts
from actionwatch.instaclustr.probe.client import MAX_SKEW, ProbeClient, Refusal, decode, shape_of_body
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fine, unsettled
from actionwatch.instaclustr.probe.sample import Sample
from actionwatch.instaclustr.probe.shapes import field_name, types

LIMITS = re.compile(r"rate|limit|quota|retry-after|throttl", re.IGNORECASE)
SLOW = timedelta(seconds=5)
DOCUMENTED = (
    *("accountId", "accountName", "accountType", "isAccountPciCompliant", "accountHasBillingDetails"),
    *(
        "isEnabledIdpSyncedToOrganisation",
        "isAccountInvoiced",
        "isBillingSyncedToOrganisation",
        "accountSupportContacts",
    ),
    *("accountEmergencyContacts", "accountMaintenanceContacts", "areOrgAndAccountSharedProviderAccountsActivelyUsed"),
)


def accounts(asker: ProbeClient, _: Sample | None = None) -> list[ProbeFinding]:
    """Say what the linked accounts look like, and know them from now on."""
    subject = "linked accounts"
    try:
        response = asker.accounts()
    except SourceError as exc:
        return [costly(subject, f"they cannot be listed: {Refusal(exc)}", "an unlinked account would go unnoticed")]
    try:
        listed = read_accounts(response.body)
    except BadResponse:
        says = f"they cannot be read: {shape_of_body(response.body)}"
        return [costly(subject, says, "an unlinked account would go unnoticed")]
    asker.reader.know_accounts({account.id: account.name for account in listed})
    items = decode(response.body)
    if not items:
        return [unsettled(subject, "a list without any account")]
    names = list(dict.fromkeys(name for item in items for name in item))
    extra = [
        f"{field_name(name)} ({types(item.get(name) for item in items)})" for name in names if name not in DOCUMENTED
    ]
    absent = [name for name in DOCUMENTED if name not in names]
    says = f"a list of {len(items)}; {_fields(extra, absent)}"
    return [fine(subject, says, "names go with ids, and what changes there becomes a record that rules can match")]


def clock(asker: ProbeClient, _: Sample) -> list[ProbeFinding]:
    """Compare the upstream's clock with ours."""
    date, at = asker.dates[-1]
    if date is None:
        return [costly("clock", "answers carry no Date", "windows end by our clock: it has to be right")]
    skew = date + timedelta(milliseconds=500) - at
    if abs(skew) <= MAX_SKEW:
        return [fine("clock", f"within {spell_duration(MAX_SKEW)} of ours", "windows end by our clock")]
    way = "ahead of" if skew > timedelta(0) else "behind"
    says = f"{spell_duration(timedelta(seconds=round(abs(skew).total_seconds())))} {way} ours"
    return [fine("clock", says, "windows end by the upstream's clock; set this machine's (NTP)")]


def limits(asker: ProbeClient, _: Sample) -> list[ProbeFinding]:
    """Say what was told of rate limits while we asked."""
    names = sorted(name for name in asker.headers if LIMITS.search(name))
    told = f"answers carry {', '.join(names)}" if names else "no header tells of any"
    if not asker.limited_count:
        return [
            fine(
                "rate limit",
                f"not met in {asker.request_count} requests; {told}",
                "429 is waited for, as long as it asks",
            )
        ]
    wait = "saying how long to wait" if asker.is_wait_told else "not saying how long to wait"
    says = f"met {asker.limited_count} times in {asker.request_count} requests, {wait}; {told}"
    return [costly("rate limit", says, "429 is waited for; see what else uses this user's key")]


def latency(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Say how long answers took."""
    if not asker.took:
        return [unsettled("latency", "nothing was answered")]
    seconds = [took.total_seconds() for took in asker.took]
    large = sample.large.response.took.total_seconds()
    says = f"half of all answers within {_spell(median(seconds))}, the slowest {_spell(max(seconds))}"
    says += f"; a page of {len(sample.records)} took {_spell(large)}"
    if median(seconds) > SLOW.total_seconds():
        return [costly("latency", says, "alerts come that much later")]
    return [fine("latency", says)]


def refusals(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Ask for what the documentation rules out: is it refused, or answered all the same?"""
    try:
        seen = asker.page(sample.window, size=1, index=-1)
    except SourceError as exc:
        return [fine("invalid numbers", f"recordIndex -1: {Refusal(exc)}", "only valid ones are sent")]
    says = f"recordIndex -1 is answered, with {'records' if seen.records else 'no records'}"
    return [fine("invalid numbers", says, "only valid ones are sent")]


def lateness(_: ProbeClient, __: Sample) -> list[ProbeFinding]:
    """Say what no single look can tell."""
    why = "one look cannot tell how long after its time a record appears"
    return [
        unsettled(
            "lateness", why, "the service measures it: records seen late are marked, and sweeps find the later ones"
        )
    ]


def _fields(extra: list[str], absent: list[str]) -> str:
    words = [
        "all documented fields are there" if not absent else f"documented fields that are absent: {', '.join(absent)}"
    ]
    words += [f"further fields: {', '.join(extra)}"] if extra else []
    return "; ".join(words)


def _spell(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

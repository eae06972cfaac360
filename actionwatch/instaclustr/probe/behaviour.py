"""Check the clock, rate limit, latency and refusals of the upstream, and the linked accounts."""

from __future__ import annotations

import re
from datetime import timedelta
from statistics import median

from actionwatch.base.durations import spell_duration, spell_seconds
from actionwatch.base.errors import BadResponse, SourceError
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.client import read_accounts
from actionwatch.instaclustr.probe.client import MAX_SKEW, ProbeClient, decode, refusal, shape_of_body
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fine, unsettled
from actionwatch.instaclustr.probe.sample import Sample
from actionwatch.instaclustr.probe.shapes import field_name, types
from actionwatch.text.redaction import NO_SECRETS

_LIMITS = re.compile(r"rate|limit|quota|retry-after|throttl", re.IGNORECASE)
_SLOW = timedelta(seconds=5)
_DOCUMENTED = (
    *("accountId", "accountName", "accountType", "isAccountPciCompliant", "accountHasBillingDetails"),
    *("isEnabledIdpSyncedToOrganisation", "isAccountInvoiced", "isBillingSyncedToOrganisation"),
    *("accountSupportContacts", "accountEmergencyContacts", "accountMaintenanceContacts"),
    "areOrgAndAccountSharedProviderAccountsActivelyUsed",
)


def accounts(client: ProbeClient) -> ProbeFinding:
    """Describe the listing of linked accounts, and use it for the other checks."""
    subject, blind = "linked accounts", "actionwatch would not notice an unlinked account"
    try:
        response = client.accounts()
    except SourceError as exc:
        return costly(subject, f"cannot be listed: {refusal(exc)}", blind)
    try:
        listed = read_accounts(response.body, NO_SECRETS.excerpt)
    except BadResponse:
        return costly(subject, f"cannot be read: {shape_of_body(response.body)}", blind)
    client.reader.know_accounts({account.id: account.name for account in listed})
    items = decode(response.body)
    if not items:
        return unsettled(subject, "the list is empty")
    names = list(dict.fromkeys(name for item in items for name in item))
    added = [name for name in names if name not in _DOCUMENTED]
    extra = [f"{field_name(name)} ({types(item.get(name) for item in items)})" for name in added]
    absent = [name for name in _DOCUMENTED if name not in names]
    says = f"a list of {counted(len(items), 'account')}; "
    says += f"documented fields that are missing: {', '.join(absent)}" if absent else "has all documented fields"
    says += f"; additional fields: {', '.join(extra)}" if extra else ""
    return fine(subject, says, "names are resolved to ids, and changes become records that rules can match")


def clock(client: ProbeClient, _: Sample) -> ProbeFinding:
    """Compare the clock of the upstream with the local clock."""
    date, at = client.dates[-1]
    if date is None:
        return costly("clock", "responses have no Date header", "windows end by the local clock, which must be right")
    skew = date + timedelta(milliseconds=500) - at
    if abs(skew) <= MAX_SKEW:
        return fine("clock", f"within {spell_duration(MAX_SKEW)} of the local clock", "windows end by the local clock")
    way = "ahead of" if skew > timedelta(0) else "behind"
    says = f"{spell_seconds(abs(skew).total_seconds())} {way} the local clock"
    return fine("clock", says, "windows end by the clock of the upstream; synchronise the local clock (NTP)")


def limits(client: ProbeClient, _: Sample) -> ProbeFinding:
    """Describe the rate limits that the probe has met."""
    names = sorted(name for name in client.headers if _LIMITS.search(name))
    headers = f"responses have {', '.join(names)}" if names else "no header mentions one"
    requests = counted(client.request_count, "request")
    if not client.limited_count:
        means = "after a 429, actionwatch waits as long as Retry-After says"
        return fine("rate limit", f"not reached with {requests}; {headers}", means)
    wait = "with Retry-After" if client.has_retry_after else "without Retry-After"
    says = f"reached {counted(client.limited_count, 'time')} with {requests}, {wait}; {headers}"
    return costly("rate limit", says, "after a 429, actionwatch waits; find out what else uses the key of this user")


def latency(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Describe how long responses took."""
    if not client.took:
        return unsettled("latency", "there was no response")
    seconds = [took.total_seconds() for took in client.took]
    large = sample.large.response.took.total_seconds()
    says = f"median {_seconds(median(seconds))}, maximum {_seconds(max(seconds))}"
    says += f"; a page of {counted(len(sample.records), 'record')} took {_seconds(large)}"
    if median(seconds) > _SLOW.total_seconds():
        return costly("latency", says, "alerts are delayed by as much")
    return fine("latency", says)


def refusals(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Send an invalid parameter: is it refused?"""
    try:
        seen = client.page(sample.window, size=1, index=-1)
        says = f"recordIndex -1 is accepted, and returns {'records' if seen.records else 'no records'}"
    except SourceError as exc:
        says = f"recordIndex -1: {refusal(exc)}"
    return fine("invalid numbers", says, "actionwatch sends only valid numbers")


def lateness(_: ProbeClient, __: Sample) -> ProbeFinding:
    """State what one probe cannot find out."""
    why = "one probe cannot show how late records appear"
    return unsettled("lateness", why, "the service measures it: it marks late records, and sweeps find very late ones")


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

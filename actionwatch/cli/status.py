"""`status`: show progress, queues, rules and troubles on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.durations import spell_duration, spell_seconds
from actionwatch.base.errors import StoreError
from actionwatch.base.model import Silence
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.context import named_source, read_settings, unknown_label
from actionwatch.cli.detected_troubles import DetectedTrouble, unopened
from actionwatch.cli.options import output_option
from actionwatch.cli.output import console, hang, print_document, print_table, spell
from actionwatch.tail.cursor import LATENESS_BOUNDS, overlap_for, spread
from actionwatch.text.payloads import short_id
from actionwatch.text.times import local_times, spell_ago, spell_time

if TYPE_CHECKING:
    from rich.console import Console

    from actionwatch.cli.snapshot import Snapshot
    from actionwatch.queries.replicas import Replica
    from actionwatch.queries.source_health import SourceHealth
    from actionwatch.queries.status import SourceState
    from actionwatch.service.announcement import Reloaded
    from actionwatch.settings import Settings, Source
    from actionwatch.store.backlog_progress import Backlog
    from actionwatch.store.self_alerts import OpenSelfAlert

_ALIKE_SHOWN = 3  # troubles of one kind, with many sources
_SILENCES_SHOWN = 5  # `silences list` shows all
_COLOURS = {"everything": "bold green", "limited": "bold yellow", "blind": "bold red"}


@click.command()
@click.option(
    "--source",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=completing.sources,
    help="Only this source; may be repeated.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="MATCHER",
    shell_complete=completing.source_labels,
    help="Only sources whose labels match, such as customer=acme or tier=~gold|silver; may be repeated: all must match.",
)
@click.option("--all", "is_whole", is_flag=True, help="Show each source, however many there are.")
@output_option
@click.pass_obj
def command(config: str, names: tuple[str, ...], labels: tuple[str, ...], form: str, *, is_whole: bool) -> int:
    """Show how far each source is read and proved, its last poll, the queue of each receiver, active silences and all troubles.

    With more than 20 sources, it shows how many are in each state, and those that need attention, worst first. JSON has all.

    Exits with 1 while there are troubles: with --source or --label, not for those of other sources. An overdue poll is a
    trouble, whether or not a service runs; so are a full disk and a missing store. Creates and changes nothing.
    """
    from actionwatch.cli.snapshot import describe, take_snapshot, without_store
    from actionwatch.store.database import StoreReader

    settings = read_settings(config)
    sources = _choose(settings, names, labels)
    try:
        with closing(StoreReader.open(settings.store.url)) as store:
            found = take_snapshot(settings, store, sources, has_lateness=form == "table")
    except StoreError as exc:
        found = without_store(settings, sources, unopened(exc))
    document = describe(settings, found)
    print_document(document, form, as_text=lambda: _print(document, found, is_whole=is_whole))
    return EXIT_FAILED if found.troubles else 0


def _choose(settings: Settings, names: Sequence[str], labels: Sequence[str]) -> list[Source]:
    """Return the sources with these names and labels. Raises: click.UsageError, because a misspelt name would look healthy."""
    from actionwatch.queries.status import has_labels
    from actionwatch.text.matchers import parse_matcher

    try:
        matchers = [parse_matcher(label) for label in labels]
    except ValueError as exc:
        raise click.UsageError(f"--label: {exc}") from exc
    named = [named_source(settings, name) for name in dict.fromkeys(names)] if names else settings.sources
    found = [each for each in named if has_labels(each.name, matchers)]
    if labels and not found:
        equal = [each for each in matchers if each.operator == "=" and each.label != "source"]
        unknown = filter(None, (unknown_label(settings, each.label, each.value) for each in equal))
        why = next(unknown, f"no source has the labels {' '.join(labels)}: correct them, or leave one out")
        raise click.UsageError(f"--label: {why}")
    return found


def _print(document: dict[str, Any], found: Snapshot, *, is_whole: bool) -> None:
    from actionwatch.queries.source_health import survey

    out = console()
    out.print(spell(document["seeing"]), style=_COLOURS[document["sight"]], markup=False)
    surveyed = survey(found.healths)
    shown, is_large = list(found.sources), surveyed.is_large and not is_whole
    if is_large:
        by_name = {source.name: source for source in found.sources}
        shown = [by_name[name] for name in surveyed.first]
        out.print(str(surveyed))
    _print_sources(shown, found.healths if is_large else {})
    if rest := len(surveyed.exceptions) - len(shown) if is_large else 0:
        out.print(f"and {rest:,} more that are not current: --all shows all sources")
    out.print()
    rows = [
        (each["name"], each["pending"], each["dead"], spell_ago(each["last_sent"])) for each in document["receivers"]
    ]
    print_table(
        ("receiver", "pending", "dead", "last sent"), rows, nothing="no receivers: alerts are stored but not sent"
    )
    if found.replicas is not None:
        out.print()
        _print_replicas(found.replicas)
    rules = document["rules"]
    shadow = f"[bold magenta]{rules['shadow']} shadow (not delivered)[/]" if rules["shadow"] else "0 shadow"
    off = f"[bold yellow]{rules['off']} off[/]" if rules["off"] else "0 off"
    out.print(f"\nrules: {rules['live']} live, {shadow}, {off}, {rules['broken']} broken")
    _print_failing(shown, out, is_running=bool(found.is_running), is_short=is_large)
    for source in shown:
        overlap, measured = found.late.get(source.name, (timedelta(0), []))
        if measured:
            out.print(hang(f"{source.name}:", _spell_lateness(overlap, measured)))
    _print_silences(found.silences, out)
    if found.last_reload is not None:
        _print_reload(found.last_reload, out)
    if found.is_running is False and found.replicas is None:
        out.print("no service is running on this store")
    _print_troubles(found.troubles, out, is_short=is_large)


def _print_sources(shown: Sequence[SourceState], healths: Mapping[str, SourceHealth]) -> None:
    """Print how far sources are read and proved, and what they catch up with. `healths` are shown too."""
    columns = ("records", "newest", "seen through", "proved through", "last poll")
    states = [(healths[each.name].value,) if healths else () for each in shown]
    rows = [(each.name, *state, *_progress(each)) for each, state in zip(shown, states, strict=True)]
    columns = ("source", *(("state",) if healths else ()), *columns)
    print_table(columns, rows, nothing="", cut=("source",), leave_out=("newest", "records") if healths else ())
    for source in shown:
        if source.backlog:
            console().print(hang(f"{source.name}:", _spell_backlog(source.backlog), "yellow"))


def _print_failing(sources: Sequence[SourceState], out: Console, *, is_running: bool, is_short: bool) -> None:
    """Print why polls fail, and when the next ones start. A short list has the first source for each reason."""
    alike = Counter(source.poll.last_error for source in sources if source.poll and source.poll.failures)
    for source in sources:
        poll = source.poll
        if poll is None or not poll.failures or not alike[poll.last_error]:
            continue
        which = "the last poll" if poll.failures == 1 else f"the last {poll.failures} polls"
        left = max(poll.resumes_at - utc_now(), timedelta(0))
        then = f"; the next poll starts in {spell_duration(left)}" if is_running else ""
        others = ""
        if is_short:
            others = f" (and {alike[poll.last_error] - 1:,} more)" if alike[poll.last_error] > 1 else ""
            alike[poll.last_error] = 0
        what = f"{which} failed: {local_times(poll.last_error or '')}{then}"
        out.print(hang(f"{source.name}{others}:", what, "yellow"))


def _print_troubles(troubles: Sequence[OpenSelfAlert | DetectedTrouble], out: Console, *, is_short: bool) -> None:
    """Print troubles with their remedies. A short list has only the first ones of each kind."""
    kinds: dict[str, list[OpenSelfAlert | DetectedTrouble]] = {}
    for trouble in troubles:
        kinds.setdefault(trouble.trouble if is_short else f"{len(kinds)}", []).append(trouble)
    for alike in kinds.values():
        for trouble in alike[:_ALIKE_SHOWN]:
            since = f", since {spell_ago(trouble.since)}" if trouble.since else ""
            what = f"{trouble.subject}{since}: {local_times(trouble.what)}"
            out.print(hang(f"{trouble.trouble}:", what, "bold red"))
        if len(alike) > _ALIKE_SHOWN:
            out.print(hang("", f"and {len(alike) - _ALIKE_SHOWN:,} more like these: -o json has all"))
        if alike[0].remedy:
            out.print(hang("  remedy:", alike[0].remedy))
    if not troubles:
        out.print("[green]no troubles[/]")


def _print_replicas(replicas: Sequence[Replica]) -> None:
    rows = [(f"{each.host} ({each.id[:6]})", each.spelled_roles, (each.files or "?")[:8]) for each in replicas]
    print_table(("replica", "roles", "files"), rows, nothing="no replica is running on this store")


def _print_reload(last: Reloaded, out: Console) -> None:
    """Print what the last reload changed, and what it could not load."""
    out.print(hang(f"reloaded {spell_ago(last.at)}:", "; ".join(last.lines)))
    for fault in last.faults:
        out.print(hang("  not loaded:", fault, "bold red"))


def _print_silences(active: Sequence[Silence], out: Console) -> None:
    for silence in active[:_SILENCES_SHOWN]:
        until, by = spell_time(silence.ends_at), f"{silence.author}: {silence.comment}"
        out.print(hang(f"silence {short_id(silence.id)}:", f"{' '.join(silence.matchers)} until {until}, by {by}"))
    if len(active) > _SILENCES_SHOWN:
        out.print(f"and {counted(len(active) - _SILENCES_SHOWN, 'more silence')}: see 'actionwatch silences list'")


def _progress(source: SourceState) -> tuple[object, ...]:
    """Return the progress of a source as a part of its row in the table. The age of its marks is by the upstream's clock."""
    now = utc_now()
    marks = source.marks
    # Before the first record, the mark is where the source began.
    newest = marks.mark if marks and source.record_count else None
    times = (newest, marks.seen_through, marks.proved_through) if marks else (None, None, None)
    ages = (spell_ago(at, source.upstream_time(now)) for at in times)
    last_poll = source.poll.last_poll_at if source.poll else None
    return source.record_count, *ages, spell_ago(last_poll, now)


def _spell_backlog(backlog: Backlog) -> str:
    rate, remaining = backlog.records_per_second, backlog.remaining
    speed = "" if rate is None else f", {rate:,.0f} per second"
    left = "" if remaining is None else f", about {spell_seconds(remaining.total_seconds())} left"
    return (
        f"catching up from {spell_time(backlog.starts_at)} to {spell_time(backlog.ends_at)}: {backlog.share:.0%} done, "
        f"through {spell_time(backlog.through)}, {counted(backlog.record_count, 'new record')}{speed}{left}"
    )


def _spell_lateness(overlap: timedelta, measured: list[timedelta]) -> str:
    """Return how late recent records appeared, as a histogram, and whether the overlap is sufficient."""
    bounds = [f"{spell_duration(bound)}" for bound in LATENESS_BOUNDS] + ["more"]
    shares = [f"{bound} {count}" for bound, count in zip(bounds, spread(measured), strict=True) if count]
    wanted = overlap_for(measured)
    advice = (
        f"an overlap of {spell_duration(overlap)} is sufficient"
        if wanted <= overlap
        else f"set overlap to {spell_duration(wanted)}"
    )
    return f"delay of the last {counted(len(measured), 'record')}: within {', '.join(shares)}; {advice}"

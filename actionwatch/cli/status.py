"""`status`: one screen that says whether all is well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.context import opened_store
from actionwatch.cli.output import console, hang, output_option, print_document, print_table, spell_ago

if TYPE_CHECKING:
    from actionwatch.settings import Settings
    from actionwatch.store.backlog_progress import Backlog
    from actionwatch.store.database import Database
    from actionwatch.store.polls import Poll
    from actionwatch.store.self_alerts import OpenTrouble

LATENESS_RECORDS = 10_000  # the newest ones say how late records are nowadays


@click.command()
@output_option
@click.pass_obj
def command(config: str, form: str) -> int:
    """Say how far each source is read and proved, what waits for each receiver, and what is wrong.

    Exit 1 while there are troubles.
    """
    from actionwatch.store import polls, records, self_alerts

    with opened_store(config) as (settings, database):
        document = describe(settings, database)
        with database.read() as connection:
            last_polls, opened = polls.read_all(connection), self_alerts.read_all(connection)
            late = {
                source.name: (source.overlap, records.lateness(connection, source.name, LATENESS_RECORDS))
                for source in settings.sources
            }
    print_document(document, form, as_text=lambda: _print(document, last_polls, opened, late))
    return EXIT_FAILED if document["troubles"] else 0


def describe(settings: Settings, database: Database) -> dict[str, Any]:
    """Give the contract's JSON."""
    from actionwatch.store import backlog_progress, marks, outbox, polls, receivers, records, rule_versions, self_alerts
    from actionwatch.text.payloads import instant

    def spell(at: datetime | None) -> str | None:
        return instant(at) if at else None

    with database.read() as connection:
        known, last_polls = marks.read_all(connection), polls.read_all(connection)
        counts = records.count_by_source(connection)
        queues, health = outbox.count_queues(connection), receivers.read_all(connection)
        opened = self_alerts.read_all(connection)
        running = rule_versions.count_modes(connection)
        behind = backlog_progress.read_all(connection)
    sources = []
    for source in settings.sources:
        found, poll = known.get(source.name), last_polls.get(source.name)
        sources.append(
            {
                "name": source.name,
                "mark": found and instant(found.mark),
                "seen_through": found and instant(found.seen_through),
                "proved_through": found and instant(found.proved_through),
                "last_poll": poll and instant(poll.last_poll_at),
                "records": counts.get(source.name, 0),
                **({"backlog": _backlog(behind[source.name])} if source.name in behind else {}),
            }
        )
    described = []
    names = [receiver.name for receiver in settings.receivers]
    gone = sorted(queues.keys() - set(names))  # a receiver that was removed is listed as long as it has dead letters
    for name in [*names, *gone]:
        queue, state = queues.get(name, outbox.Queue()), health.get(name, receivers.Health())
        described.append(
            {
                "name": name,
                "pending": queue.pending,
                "dead": queue.dead,
                "last_sent": spell(state.last_sent_at),
            }
        )
    return {
        "sources": sources,
        "receivers": described,
        "rules": _count_rules(settings, running, opened),
        "troubles": [
            {"trouble": trouble.trouble, "since": instant(trouble.since), "remedy": trouble.remedy}
            for trouble in opened
        ],
    }


def _backlog(backlog: Backlog) -> dict[str, Any]:
    """Give how far a source is that catches up: from where to where, how much of that is done, how fast, how long yet."""
    from actionwatch.text.payloads import instant

    rate, remaining = backlog.records_per_second, backlog.remaining
    return {
        "from": instant(backlog.starts_at),
        "to": instant(backlog.ends_at),
        "through": instant(backlog.through),
        "share": round(backlog.share, 3),
        "records": backlog.record_count,
        "records_per_second": None if rate is None else round(rate, 1),
        "remaining_seconds": None if remaining is None else round(remaining.total_seconds()),
    }


def _count_rules(settings: Settings, running: Mapping[str, int], opened: list[OpenTrouble]) -> dict[str, int]:
    """Count the rules that run, and the files that are broken; before anything ran, as the files have it."""
    from actionwatch.base.model import Mode
    from actionwatch.service import configuration

    if running:
        broken = sum(trouble.trouble == "rule_broken" for trouble in opened)
        return {**{mode.value: running.get(mode.value, 0) for mode in Mode}, "broken": broken}
    rules = configuration.read_rules(settings)
    counts = {mode.value: sum(rule.mode is mode for rule in rules.rules) for mode in Mode}
    return {**counts, "broken": len({fault.file for fault in rules.faults})}


def _print(
    document: dict[str, Any],
    last_polls: Mapping[str, Poll],
    opened: list[OpenTrouble],
    late: Mapping[str, tuple[timedelta, list[timedelta]]],
) -> None:
    from rich.text import Text

    progress = [_progress(source, last_polls.get(source["name"])) for source in document["sources"]]
    print_table(
        ("source", "records", "newest", "seen through", "proved through", "last poll"), progress, cut=("source",)
    )
    out = console()
    for source in document["sources"]:
        if "backlog" in source:
            out.print(hang(Text(f"{source['name']}:", "yellow"), _spell_backlog(source["backlog"])))
    out.print()
    rows = [(item["name"], item["pending"], item["dead"], _ago(item["last_sent"])) for item in document["receivers"]]
    print_table(
        ("receiver", "pending", "dead", "last sent"), rows, nothing="no receivers: alerts are stored, nobody is told"
    )
    rules = document["rules"]
    shadow = f"[bold magenta]{rules['shadow']} shadow (nobody is told)[/]" if rules["shadow"] else "0 shadow"
    off = f"[bold yellow]{rules['off']} off[/]" if rules["off"] else "0 off"
    out.print(f"\nrules: {rules['live']} live, {shadow}, {off}, {rules['broken']} broken")
    for source in document["sources"]:
        poll = last_polls.get(source["name"])
        if poll is not None and poll.failures:
            out.print(hang(Text(f"{source['name']}:", "yellow"), f"{_failed(poll.failures)}: {poll.last_error}"))
    for name, (overlap, measured) in late.items():
        if measured:
            out.print(hang(Text(f"{name}:"), _spell_lateness(overlap, measured)))
    for trouble in opened:
        label = Text(f"{trouble.trouble}:", "bold red")
        out.print(hang(label, f"{trouble.subject}, since {spell_ago(trouble.since)}: {trouble.what}"))
        if trouble.remedy:
            out.print(hang(Text("  remedy:"), trouble.remedy))
    if not opened:
        out.print("[green]no troubles[/]")


def _progress(source: dict[str, Any], poll: Poll | None) -> tuple[object, ...]:
    """Give a source's row of the table; the upstream's clock tells how long ago its marks are."""
    now = utc_now()
    there = now + poll.clock_skew if poll else now
    told = (_ago(source[name], there) for name in ("mark", "seen_through", "proved_through"))
    return source["name"], source["records"], *told, _ago(source["last_poll"], now)


def _spell_backlog(backlog: dict[str, Any]) -> str:
    from actionwatch.base.durations import spell_duration

    rate, seconds = backlog["records_per_second"], backlog["remaining_seconds"]
    speed = "" if rate is None else f", {rate:,.0f} a second"
    left = "" if seconds is None else f", about {spell_duration(timedelta(seconds=seconds))} left"
    return (
        f"catching up from {backlog['from']} to {backlog['to']}: {backlog['share']:.0%} done, through {backlog['through']}, "
        f"{backlog['records']:,} new records{speed}{left}"
    )


def _spell_lateness(overlap: timedelta, measured: list[timedelta]) -> str:
    """Say how long after their time records were seen, as a histogram, and whether the overlap is long enough."""
    from actionwatch.base.durations import spell_duration
    from actionwatch.tail.cursor import LATENESS_BOUNDS, overlap_for, spread

    bounds = [f"{spell_duration(bound)}" for bound in LATENESS_BOUNDS] + ["more"]
    shares = [f"{bound} {count}" for bound, count in zip(bounds, spread(measured), strict=True) if count]
    wanted = overlap_for(measured)
    advice = (
        f"overlap {spell_duration(overlap)} is enough"
        if wanted <= overlap
        else f"set overlap: {spell_duration(wanted)}"
    )
    return f"seen after their time, of the last {len(measured)} records: within {', '.join(shares)}; {advice}"


def _failed(count: int) -> str:
    return "the last poll failed" if count == 1 else f"the last {count} polls failed"


def _ago(at: str | None, now: datetime | None = None) -> str:
    return spell_ago(datetime.fromisoformat(at) if at else None, now)

"""`routes`: show the routing tree, and test which receivers get an alert and what would hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.clock import utc_now
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import StoreMissing
from actionwatch.base.model import LEVELS, SELF_RULE_NAME, Alert, Record
from actionwatch.cli import EXIT_FAILED, completing
from actionwatch.cli.context import named_receiver, read_settings, read_settings_to_act, reading_store
from actionwatch.cli.options import output_option
from actionwatch.cli.output import echo, print_document, print_table, spell
from actionwatch.text.suggestions import suggest
from actionwatch.text.times import local_times

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from actionwatch.alerts.routes import Route, Visit
    from actionwatch.rules.load import Rules
    from actionwatch.rules.model import Rule
    from actionwatch.service.routing import ReceiverForecast, Routing
    from actionwatch.settings import Settings
    from actionwatch.text.matchers import Labels

_ROOT = "route"
command = click.Group(help="Show the routing tree, and test which receivers get an alert.")


@command.command("show")
@output_option
@click.pass_obj
def show(config: str, form: str) -> None:
    """Print the routing tree: the matchers, receivers and mute intervals of each route.

    The first child whose matchers all match takes the alert; with `continue`, the routes after it are tried too.
    """
    from actionwatch.alerts import routes
    from actionwatch.service import configuration

    settings = read_settings(config)
    names = [receiver.name for receiver in settings.receivers]
    tree, now = routes.build(settings.route, names), utc_now()
    muting = {name for name, interval in configuration.time_intervals(settings).items() if interval.holds(now)}
    unused = [name for name in names if name not in _named_by(tree)]
    document = {"route": _route_document(tree), "muted_now": sorted(muting), "unused_receivers": unused}

    def as_text() -> None:
        for line in _tree_lines(tree, muting):
            echo(line)
        if unused:
            echo(f"no route names: {', '.join(map(spell, unused))}")

    print_document(document, form, as_text=as_text)


def _named_by(route: Route) -> set[str]:
    return set(route.receivers).union(*map(_named_by, route.routes))


def _route_document(route: Route) -> dict[str, Any]:
    """Return a node as JSON, with the keys of the configuration and the receivers that it inherits."""
    return {
        "matchers": [str(matcher) for matcher in route.matchers],
        "receivers": list(route.receivers),
        "continue": route.is_continued,
        "mute_time_intervals": list(route.mutes),
        "routes": [_route_document(child) for child in route.routes],
    }


def _tree_lines(route: Route, muting: set[str], place: str = _ROOT, depth: int = 0) -> Iterator[str]:
    mutes = [f"{name} (now)" if name in muting else name for name in route.mutes]
    muted = f"; muted in {', '.join(mutes)}" if mutes else ""
    yield f"{'  ' * depth}{place}: {_spell_route(route)} -> {_spell_receivers(route)}{spell(muted)}"
    for index, child in enumerate(route.routes):
        yield from _tree_lines(child, muting, f"routes[{index}]", depth + 1)


def _spell_route(route: Route) -> str:
    matchers = spell(" ".join(map(str, route.matchers))) or "every alert"
    return f"{matchers} (continue)" if route.is_continued else matchers


def _spell_receivers(route: Route) -> str:
    return spell(", ".join(route.receivers)) or "nobody: no receiver is configured"


@command.command("test")
@click.option(
    "--alert",
    "alert_id",
    metavar="ID",
    help="Route this stored alert, by its newest record.",
)
@click.option("--level", type=click.Choice(list(LEVELS)), help="The level.  [default: the level of --rule]")
@click.option(
    "--rule",
    "rule_name",
    metavar="NAME",
    shell_complete=completing.rules,
    help="The rule. Its labels and its escalation apply too.",
)
@click.option(
    "--label", "given", multiple=True, metavar="K=V", help="A label such as cluster=orders-prod (repeatable)."
)
@click.option(
    "--expect",
    multiple=True,
    metavar="RECEIVER",
    shell_complete=completing.receivers,
    help="Fail unless the routes select exactly these, held or not (repeatable).",
)
@output_option
@click.pass_obj
def test(
    config: str,
    alert_id: str | None,
    level: str | None,
    rule_name: str | None,
    given: tuple[str, ...],
    expect: tuple[str, ...],
    form: str,
) -> int:
    """Print which receivers get an alert, which matcher decided at each route, and what would hold its messages now.

    What can hold a message: a silence, an inhibition, a mute interval, min_level, a storm, a digest. Nothing is stored or sent.
    Without a store, the command uses only the configuration.

    Exits with 1 if nobody gets the alert, or if its receivers are not those of --expect.

    \b
    actionwatch routes test --rule cluster_deleted --label cluster=orders-prod
    actionwatch routes test --level critical --expect security-slack --expect soar
    actionwatch routes test --alert 3f2a81c0
    """
    from actionwatch.service import routing

    settings, now = read_settings_to_act(config), utc_now()  # the gates of deliveries log
    for name in expect:
        named_receiver(settings, name)
    if alert_id is not None and (level or rule_name or given):
        raise click.UsageError("--alert has its own level, rule and labels: use it alone")
    labels = _labels(given)
    with ExitStack() as stack:
        connection = _store(stack, config, is_needed=alert_id is not None)
        if alert_id is not None and connection is not None:
            alert, newest = _stored(connection, alert_id)
            notes = list(_notes(alert, None, level))
        else:
            alert, notes = _example(settings, level, rule_name, labels, now)
            newest = None
        found = routing.forecast(settings, connection, alert, newest, now)
    print_document(_document(found, notes), form, as_text=lambda: _print(found, notes))
    return _exit_status({each.name for each in found.receivers}, set(expect))


def _exit_status(names: set[str], expected: set[str]) -> int:
    """Return the exit status: 1 if nobody gets the alert, or others than expected."""
    if expected and names != expected:
        echo(f"expected {', '.join(sorted(expected))}; got {', '.join(sorted(names)) or 'nobody'}", err=True)
        return EXIT_FAILED
    return 0 if names else EXIT_FAILED


def _labels(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for text, (name, sign, _) in zip(given, pairs, strict=True):
        if not sign or not name.strip():
            raise click.UsageError(f"{text!r} is not a label: write NAME=VALUE, such as cluster=orders-prod")
    return {name.strip(): value.strip('"') for name, _, value in pairs}


def _store(stack: ExitStack, config: str, *, is_needed: bool) -> Connection | None:
    """Open the store. Before the first start there is none: the configuration alone decides then."""
    try:
        _, connection = stack.enter_context(reading_store(config))
    except StoreMissing:
        if is_needed:
            raise
        echo("note: there is no store yet: silences, inhibition and storms are not known", err=True)
        return None
    return connection


def _stored(connection: Connection, beginning: str) -> tuple[Alert, Record | None]:
    from actionwatch.queries import alerts
    from actionwatch.store import records

    alert = alerts.find(connection, beginning)
    newest = records.read_of_alerts(connection, [alert.id], 1)[alert.id]
    return alert, newest[-1] if newest else None


def _example(
    settings: Settings, level: str | None, rule_name: str | None, labels: dict[str, str], now: datetime
) -> tuple[Alert, list[str]]:
    """Return the alert that the options describe, and notes about it."""
    from actionwatch.service import configuration, routing

    level, name = level or labels.pop("level", None), rule_name or labels.pop("rule", "")
    source = labels.pop("source", settings.sources[0].name if len(settings.sources) == 1 else "")
    notes, rule = [], None
    if name or labels:  # nothing else needs the rules
        rules = configuration.read_rules(settings)
        rule = _rule(rules, name) if name else None
        vocabulary = configuration.vocabulary(settings, rules)
        notes = [wrong for label in labels if (wrong := vocabulary.check_label(label))]
    name = rule.name.name if rule is not None else name
    labels = {**configuration.source_labels(settings.sources).get(source, {}), **labels}
    alert = routing.example_alert(name, rule, LEVELS[_level(level, rule)], source, labels, now)
    return alert, [*_notes(alert, rule, level), *notes]


def _rule(rules: Rules, name: str) -> Rule | None:
    """Return the rule with this name or id; None for the rule of self-alerts, which is in no file."""
    found = next((rule for rule in rules.rules if name in (rule.name.name, rule.name.id)), None)
    if found is None and name != SELF_RULE_NAME:
        remedy = suggest(name, [rule.name.name for rule in rules.rules], "rules are") or "see 'actionwatch rules list'"
        raise click.UsageError(f"no rule is named {name}: {remedy}")
    return found


def _level(word: str | None, rule: Rule | None) -> str:
    if word is None and rule is not None:
        return (rule.alert.level or rule.level).word
    if word is None:
        raise click.UsageError("an alert has a level: give --level, or --rule with the name of a rule")
    if word not in LEVELS:
        raise click.UsageError(f"no level is named {word}: {suggest(word, LEVELS, 'levels are')}")
    return word


def _notes(alert: Alert, rule: Rule | None, level: str | None) -> Iterator[str]:
    """Yield what concerns the alert rather than one receiver: the mode and the escalation of its rule, levels of records."""
    if alert.is_shadow:
        yield "nobody gets it: the rule is in shadow mode"
    if rule is None:
        return
    if rule.mode.value == "off":
        yield f"the rule {rule.name.name} is off: it opens no alerts"
    if rule.alert.levels and level is None:
        words = ", ".join(each.word for each, _ in rule.alert.levels)
        yield f"its record can raise the level to {words}: test it with --level"
    if rule.alert.escalation is not None:
        after, to = spell_duration(rule.alert.escalation.after), rule.alert.escalation.to
        yield f"escalates to {to} after {after}, unless acknowledged"


def _document(found: Routing, notes: Sequence[str]) -> dict[str, Any]:
    labels = {name: value if isinstance(value, str) else list(value) for name, value in found.labels.items()}
    return {
        "labels": labels,
        "route": _visit_document(found.visit, found.labels),
        "receivers": [_forecast_document(each) for each in found.receivers],
        "notes": list(notes),
    }


def _visit_document(visit: Visit, labels: Labels) -> dict[str, Any]:
    """Return a node as JSON: `result` is `taken`, `descended`, `failed` or `passed_over`."""
    failed = visit.failed
    decided = {} if failed is None else {"failed": str(failed), "value": _value(labels, failed.label)}
    takes = not any(each.is_met for each in visit.below)
    result = ("taken" if takes else "descended") if visit.is_met else "failed" if failed else "passed_over"
    return {
        "matchers": [str(matcher) for matcher in visit.route.matchers],
        "continue": visit.route.is_continued,
        "receivers": list(visit.route.receivers),
        "result": result,
        **decided,
        "routes": [_visit_document(each, labels) for each in visit.below],
    }


def _forecast_document(found: ReceiverForecast) -> dict[str, Any]:
    return {
        "name": found.name,
        "routes": list(found.places),
        "mute_time_intervals": list(found.mutes),
        "held_by": [{"by": each.by, "ref": each.ref, "what": each.what} for each in found.held_by],
        "notes": list(found.notes),
    }


def _value(labels: Labels, name: str) -> str:
    found = labels.get(name, "")
    return spell(found if isinstance(found, str) else ", ".join(found)) or "absent"


def _print(found: Routing, notes: Sequence[str]) -> None:
    echo("labels: " + "  ".join(f"{spell(name)}={_value(found.labels, name)}" for name in found.labels) + "\n")
    for line in _visit_lines(found.visit, found.labels):
        echo(line)
    echo()
    rows = [(each.name, ", ".join(each.places), _now(each)) for each in found.receivers]
    print_table(("receiver", "route", "now"), rows, nothing="nobody gets this alert", is_wrapped=True)
    for note in notes:
        echo(f"note: {local_times(note)}", err=True)


def _now(found: ReceiverForecast) -> str:
    held = [each.what for each in found.held_by]
    return local_times("; ".join([*(held or ["sent"]), *found.notes]))


def _visit_lines(visit: Visit, labels: Labels, place: str = _ROOT, depth: int = 0, taker: str = "") -> Iterator[str]:
    """Yield the nodes in the order of the tree: + matched, - did not, ~ was not tried; the matcher that decided, its value."""
    head = f"{place}: {_spell_route(visit.route)}"
    if visit.is_passed_over:
        yield f"{'  ' * depth}~ {head}: passed over, because {taker} took the alert"
        return
    if visit.failed is not None:
        which = f"{spell(visit.failed)} " if len(visit.route.matchers) > 1 else ""
        yield f"{'  ' * depth}- {head}   {which}<- {_value(labels, visit.failed.label)}"
        return
    met = [each for each in visit.below if each.is_met]
    yield f"{'  ' * depth}+ {head}" + ("" if met else f" -> {_spell_receivers(visit.route)}")
    taker = ""
    for index, child in enumerate(visit.below):
        name = f"routes[{index}]"
        yield from _visit_lines(child, labels, name, depth + 1, taker)
        taker = name if child.is_met else taker

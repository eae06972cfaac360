"""Read a configuration: the settings, and the rules and lists that they name.

For commands that read files only: it imports no store, HTTP client or logs, and the settings and the rule language, which take
0.2 s each, only when they are needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actionwatch.alerts import routes
from actionwatch.alerts.vocabulary import Vocabulary
from actionwatch.base.clock import utc_now
from actionwatch.base.model import LEVELS, SELF_RULE_NAME
from actionwatch.instaclustr import aliases
from actionwatch.instaclustr.kinds import ACCOUNT, KINDS, OPERATIONS, ORGANISATION, OWN_KINDS
from actionwatch.text.matchers import parse_matcher
from actionwatch.text.timeintervals import Period, TimeInterval

if TYPE_CHECKING:
    from actionwatch.rules.lists import Lists
    from actionwatch.rules.load import ReadFiles, Rules
    from actionwatch.settings import Settings, Source


def shipped(name: str) -> Path:
    """Return a folder that is part of actionwatch (`rules`, `templates`), from the wheel or the checkout."""
    packaged = Path(__file__).parent.parent / "_data" / name
    return packaged if packaged.is_dir() else Path(__file__).parent.parent.parent / name


def read_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read a configuration file.

    Raises: ConfigError, with every fault.
    """
    from actionwatch.notifiers.base import notifier_module, notifier_types
    from actionwatch.settings import Types, load_settings
    from actionwatch.streams.driver import driver_module, driver_types

    return load_settings(
        path,
        environ=os.environ if environ is None else environ,
        receiver_types=Types(notifier_types(), lambda kind: notifier_module(kind).Options),
        stream_types=Types(driver_types(), lambda kind: driver_module(kind).Options),
        check_matcher=parse_matcher,
        record_fields=aliases.FIELDS,
        alert_labels=routes.OWN_LABELS,
    )


def read_sources(settings: Settings, path: Path, environ: Mapping[str, str] | None = None) -> tuple[Source, ...]:
    """Read only the sources of a configuration file again, from `settings.source_files`; the rest is as in `settings`.

    Raises: ConfigError, with every fault.
    """
    from actionwatch.settings.load import source_context
    from actionwatch.settings.sources import load_sources

    return load_sources(
        settings,
        environ=os.environ if environ is None else environ,
        context=source_context(path, aliases.FIELDS, routes.OWN_LABELS),
    )


def read_rules(settings: Settings) -> Rules:
    """Read the rules that a configuration names; faults are in the result."""
    from actionwatch.rules.load import read_documents

    return rules_from(read_documents(settings.rules), settings)


def known_lists(settings: Settings) -> Lists:
    """Read the operator's lists, and those next to rules."""
    from actionwatch.rules.lists import list_folders, read_lists

    return read_lists(list_folders(settings.lists, settings.rules))


def rules_from(read: ReadFiles, settings: Settings) -> Rules:
    """Build the rules of files that were read; faults are in the result."""
    from actionwatch.rules.load import build_rules, with_unread

    lists = known_lists(settings)
    built = build_rules(
        read.documents,
        lists=lists,
        known_kinds=known_kinds(settings),
        time_intervals=time_intervals(settings),
        now=utc_now(),
    )
    return with_unread(built, read, lists)


def documented_kinds() -> list[str]:
    """Return the kinds of the catalogue and those of our own records."""
    return [*KINDS, *OWN_KINDS]


def time_intervals(settings: Settings) -> dict[str, TimeInterval]:
    """Return the configured time intervals by name."""
    return {options.name: options.interval for options in settings.time_intervals}


def usual_intervals() -> dict[str, TimeInterval]:
    """Return the time intervals that `init` writes, for rules without a configuration."""
    workday = Period(weekdays=((0, 4),), times=((8 * 60, 18 * 60),))
    return {"business-hours": TimeInterval("business-hours", (workday,))}


def known_kinds(settings: Settings) -> list[str]:
    """Return the known kinds: of the catalogue, of our own records, and of `extra_kinds`."""
    return [*documented_kinds(), *settings.extra_kinds]


def source_labels(sources: Iterable[Source]) -> dict[str, Mapping[str, str]]:
    """Return the labels of each source by its name."""
    return {source.name: source.labels for source in sources}


def vocabulary(settings: Settings, rules: Rules) -> Vocabulary:
    """Collect the labels that alerts can have, for what matchers refer to."""
    own: dict[str, set[str]] = {}
    for rule in rules.rules:
        for name, value in rule.alert.labels.items():
            own.setdefault(name, {""}).add(value)
    for source in settings.sources:
        for name, value in source.labels.items():
            own.setdefault(name, {""}).add(value)  # alerts about actionwatch itself can be without it
    choices: dict[str, list[str]] = {name: sorted(values) for name, values in own.items()}
    choices["level"] = list(LEVELS)
    choices["scope"] = [ORGANISATION, ACCOUNT, ""]
    choices["crudOperation"] = [*OPERATIONS, ""]
    choices["actionKind"] = [*known_kinds(settings), ""]
    if not rules.faults:  # the names in a broken file are not known
        choices["rule"] = [*(rule.name.name for rule in rules.rules), SELF_RULE_NAME]
    others = [name for name in routes.OWN_LABELS if name not in choices]
    return Vocabulary(choices, others, of_sources={name for source in settings.sources for name in source.labels})


def rule_schema() -> dict[str, Any]:
    """Return the JSON Schema of rule files."""
    from actionwatch.rules import schema

    return schema.rule_schema(KINDS)


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration."""
    from actionwatch.notifiers.base import notifier_module, notifier_types
    from actionwatch.rules.schema import DIALECT
    from actionwatch.settings.schema import config_schema as settings_schema
    from actionwatch.streams.driver import driver_module, driver_types

    receivers = {kind: notifier_module(kind).Options for kind in notifier_types()}
    streams = {kind: driver_module(kind).Options for kind in driver_types()}
    return settings_schema(receivers, streams, DIALECT)

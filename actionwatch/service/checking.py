"""Check a configuration and the files it names, and report every fault at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from actionwatch.base import clock
from actionwatch.base.durations import spell_duration, spell_seconds
from actionwatch.base.errors import ConfigError, Fault
from actionwatch.base.plurals import counted
from actionwatch.notifiers.base import templates_of
from actionwatch.render.renderer import Renderer
from actionwatch.render.template_folders import SUFFIX
from actionwatch.rules.correlations.order import memories
from actionwatch.rules.lint import lint
from actionwatch.rules.load import Rules, load_rules, read_documents
from actionwatch.rules.model import Rule
from actionwatch.service import configuration, organisations
from actionwatch.service.policies import build_policy, rate_of, unrouted
from actionwatch.service.rendering import build_renderer
from actionwatch.service.silence_files import read_matchers, read_silences
from actionwatch.settings import Settings
from actionwatch.settings.keys import RouteOptions
from actionwatch.text.formats.messages import FORMATS
from actionwatch.text.formats.streams import STREAM_FORMATS
from actionwatch.text.suggestions import did_you_mean, suggest
from actionwatch.text.yaml_document import Document, Place, read_file


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of `check`: faults, notes, and the number of loaded rules."""

    faults: list[Fault]
    notes: list[Fault]
    rule_count: int


def check(settings: Settings, config: Path) -> CheckResult:
    """Check what the configuration file refers to: rules, lists, silences, templates."""
    document, *_ = read_file(config)
    read = read_documents(settings.rules)
    rules = configuration.rules_from(read, settings)
    notes = [*rules.notes, *lint(rules, read.documents, configuration.known_kinds(settings))]
    notes += organisations.notes_on_organisations(settings, document)
    notes += _unreached_receivers(settings, document, rules.rules)
    notes += _short_retention(settings, rules.rules)
    notes += _replaced_labels(settings, rules.rules)
    notes += _unknown_scopes(settings, rules.rules)
    notes += _slow_rates(settings, document)
    notes += _doubtful_matchers(settings, document, rules)
    dangling = _dangling_escalations(settings, rules.rules)
    faults = [*_missing_folders(settings, document), *rules.faults, *dangling]
    faults += [*read_silences(settings)[1], *check_templates(settings, config)]
    return CheckResult(faults, notes, len(rules.rules))


def _missing_folders(settings: Settings, document: Document) -> Iterator[Fault]:
    """Return a fault for each configured folder that does not exist."""
    folders = {"lists": settings.lists, "templates": settings.templates, "silences": settings.silences}
    for key, folder in folders.items():
        if key in document.value and not folder.exists():
            yield document.fault((key,), f"{key}: there is no {folder}", "create it, or correct the path")


def _short_retention(settings: Settings, rules: Sequence[Rule]) -> Iterator[Fault]:
    """Return a note for each rule that looks back further than `store.retention.records`."""
    kept, back = settings.store.retention.records, memories(rules)
    for rule in rules:
        span = back.get(rule.name.id, timedelta(0))
        if span > kept:
            what = (
                f"'{rule.name.name}' looks back {spell_duration(span)}, store.retention.records is {spell_duration(kept)}: "
                "the records that the rule may match are kept as long as it needs them"
            )
            yield Fault(rule.file, rule.line, 1, what, "increase store.retention.records, or accept the larger store")


def _replaced_labels(settings: Settings, rules: Sequence[Rule]) -> Iterator[Fault]:
    """Return a note for each label of a rule that sources have too."""
    of_sources = {name for source in settings.sources for name in source.labels}
    for rule in rules:
        for name in sorted(of_sources & rule.alert.labels.keys()):
            what = f"'{rule.name.name}' has the label '{name}', which sources have too: their alerts have that of the source"
            yield Fault(rule.file, rule.line, 1, what, "give the label of the rule another name")


def _unknown_scopes(settings: Settings, rules: Sequence[Rule]) -> Iterator[Fault]:
    """Return a note for each name or matcher in the `sources` of a rule that no source has."""
    names = [source.name for source in settings.sources]
    for rule in rules:
        scope = rule.alert.scope
        if scope is None or rule.document is None:
            continue
        for index in scope.unknown(names):
            what = f"no source is '{scope.texts[index]}': the rule matches no record by it"
            remedy = suggest(scope.texts[index], names, "sources are") or "name a source, or one of its labels"
            yield rule.document.fault(("alert", "sources", index), what, remedy)


def _slow_rates(settings: Settings, document: Document) -> Iterator[Fault]:
    """Return a note for each receiver whose rate is so low that it can never send as many alerts as a storm lets through."""
    for index, receiver in enumerate(settings.receivers):
        rate, storm = rate_of(receiver), build_policy(receiver).storm
        if rate is None or storm is None or (most := int(rate * storm.per.total_seconds())) >= storm.above:
            continue
        per, waits = spell_duration(storm.per), spell_seconds(storm.above / rate)
        what = (
            f"the rate of '{receiver.name}' allows {counted(most, 'message')} in {per}, but a storm begins above "
            f"{counted(storm.above, 'alert')} in {per}: single alerts of a storm take {waits}, and its summary follows them"
        )
        yield document.fault(
            ("receivers", index), what, f"set storm.above to {max(most, 1)} or less, or increase the rate"
        )


def _unreached_receivers(settings: Settings, document: Document, rules: Sequence[Rule]) -> Iterator[Fault]:
    """Return a note for each receiver that gets no alert: no route names it, and no rule escalates to it."""
    escalated = {rule.alert.escalation.to for rule in rules if rule.alert.escalation is not None}
    names = [receiver.name for receiver in settings.receivers]
    for name in unrouted(settings):
        if name not in escalated:
            what = f"no route names '{name}': it gets no alert"
            yield document.fault(("receivers", names.index(name)), what, "name it in a route, or remove it")


def _doubtful_matchers(settings: Settings, document: Document, rules: Rules) -> Iterator[Fault]:
    """Return a note for each matcher that refers to nothing or decides nothing: of routes, inhibition, streams and silences."""
    vocabulary = configuration.vocabulary(settings, rules)
    placed: list[tuple[Document, Place, tuple[str, ...]]] = []
    routes: list[tuple[Place, RouteOptions]] = [(("route",), settings.route)]
    for place, route in routes:
        placed.append((document, (*place, "matchers"), route.matchers))
        routes += [((*place, "routes", index), child) for index, child in enumerate(route.routes)]
    for index, rule in enumerate(settings.inhibit_rules):
        placed.append((document, ("inhibit_rules", index, "source_matchers"), rule.source_matchers))
        placed.append((document, ("inhibit_rules", index, "target_matchers"), rule.target_matchers))
    of_records: list[tuple[Document, Place, tuple[str, ...]]] = []
    for index, stream in enumerate(settings.streams):
        chosen = of_records if stream.has_records else placed
        chosen.append((document, ("streams", index, "matchers"), stream.matchers))
    known = [(vocabulary, each) for each in [*placed, *read_matchers(settings)]]
    for words, (source, place, matchers) in [*known, *((vocabulary.of_records(), each) for each in of_records)]:
        for doubt in words.doubts(matchers):
            yield source.fault((*place, doubt.index), doubt.what, doubt.remedy)


def _dangling_escalations(settings: Settings, rules: Sequence[Rule]) -> list[Fault]:
    """Return a fault for each rule that escalates to an unknown receiver: its messages would become dead letters."""
    names = [receiver.name for receiver in settings.receivers]
    remedy = f"name one of {', '.join(names)}" if names else "configure it"
    return [
        Fault(rule.file, rule.line, 1, f"'{rule.name.name}' escalates to '{to}', which is not a receiver", remedy)
        for rule in rules
        if rule.alert.escalation is not None and (to := rule.alert.escalation.to) not in names
    ]


def check_templates(settings: Settings, config: Path) -> list[Fault]:
    """Check the templates, and that those named by receivers and streams exist."""
    renderer = build_renderer(settings)
    return [*renderer.check(), *_missing_templates(settings, config, renderer)]


def _missing_templates(settings: Settings, config: Path, renderer: Renderer) -> Iterator[Fault]:
    document, *_ = read_file(config)
    for index, receiver in enumerate(settings.receivers):
        for name in renderer.missing(templates_of(receiver.type, receiver.options)):
            remedy = did_you_mean(name.removesuffix(".json"), list(FORMATS)) or "write it, or correct the name"
            what = f"format: there is no template {name}{SUFFIX} in {settings.templates}"
            yield document.fault(("receivers", index, receiver.type, "format"), what, remedy)
    for index, stream in enumerate(settings.streams):
        template = stream.template
        if template and renderer.missing([template]):
            remedy = did_you_mean(stream.format, list(STREAM_FORMATS)) or "write it, or correct the name"
            what = f"format: there is no template {template}{SUFFIX} in {settings.templates}"
            yield document.fault(("streams", index, "format"), what, remedy)


def faults_beside(config: Path) -> list[Fault]:
    """Check the rules that a broken configuration names, as far as it is readable, to report everything at once.

    Time intervals are accepted by name only, because the configuration that defines them is broken.
    """
    try:
        value = next((document.value for document in read_file(config)), None)
    except ConfigError:
        return []
    given = value if isinstance(value, dict) else {}
    folders = given.get("rules", ["rules"])
    paths = [config.parent / name for name in folders if isinstance(name, str)] if isinstance(folders, list) else []
    intervals = given.get("time_intervals")
    named = [item.get("name") for item in intervals if isinstance(item, dict)] if isinstance(intervals, list) else []
    (usual,) = configuration.usual_intervals().values()
    lists = given.get("lists", "lists")
    loaded = load_rules(
        [path for path in paths if path.exists()],
        lists=config.parent / lists if isinstance(lists, str) else None,
        known_kinds=configuration.documented_kinds(),
        time_intervals={usual.name: usual, **{name: usual for name in named if isinstance(name, str)}},
        now=clock.utc_now(),
    )
    return list(loaded.faults)

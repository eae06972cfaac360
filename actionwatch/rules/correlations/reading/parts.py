"""The short form: a detection in the document of a correlation becomes silent rules that feed it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from actionwatch.base.model import RuleName
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.compile import EVERYTHING, Compiled
from actionwatch.rules.conditions import Condition
from actionwatch.rules.model import CorrelationType, Rule
from actionwatch.rules.report import Report
from actionwatch.text.suggestions import suggest

ANY = "any"
WHOLE = "detection"


@dataclass(frozen=True, slots=True)
class InnerRules:
    """The rules that feed a correlation: `names` as in the document, `references` to resolve, and its silent `rules`."""

    names: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


def own_parts(
    names: tuple[str, ...],
    baseline: str | None,
    type_: CorrelationType,
    rule: Rule,
    compiled: Compiled | None,
    report: Report,
) -> InnerRules:
    """Make the parts, and report unknown selections. A `new_term` has its baseline as a second step."""
    name = rule.name

    def part(word: str, condition: Condition) -> Rule:
        own = RuleName(f"{name.id}.{word}", f"{name.name}.{word}", name.title, name.tags)
        return Rule(own, rule.level, condition, AlertBlock(), rule.file, rule.line, is_silent=True)

    rules: dict[str, Rule] = {}
    taken = compiled.selections if compiled is not None else ()
    whole = _free(WHOLE, taken)

    def refer(word: str, key: tuple[str | int, ...]) -> str:
        if compiled is None:
            return word
        if word not in compiled.selections:
            what = f"no selection of this document is named '{word}'"
            report.fault(("correlation", *key), what, suggest(word, compiled.selections, "selections"))
        else:
            rules[word] = part(word, compiled.selections[word])
        return f"{name.name}.{word}"

    if names or compiled is None:
        references = [refer(word, ("rules", index)) for index, word in enumerate(names)]
    else:
        rules[whole] = part(whole, compiled.condition)
        names, references = (whole,), [f"{name.name}.{whole}"]
    if type_ is CorrelationType.NEW_TERM:
        if baseline == ANY and ANY in taken:
            what = "'baseline: any' means every record, and a selection is named 'any'"
            report.fault(("correlation", "baseline"), what, "rename the selection")
        elif baseline == ANY:
            rules[ANY] = part(ANY, compiled.everything if compiled is not None else EVERYTHING)
            references.append(f"{name.name}.{ANY}")
        else:
            references.append(references[0] if baseline is None else refer(baseline, ("baseline",)))
    return InnerRules(names, tuple(references), tuple(rules.values()))


def _free(word: str, taken: Collection[str]) -> str:
    """Return a name for a part that is not the name of a selection."""
    while word in taken:
        word += "_"
    return word

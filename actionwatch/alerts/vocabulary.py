"""Find matchers that are probably wrong: labels and values that no alert has, and matchers that decide nothing. Pure.

`service/configuration.py` collects the labels. Such matchers are valid: `check` notes them, `silences add` needs `--force`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from actionwatch.alerts.routes import RECORD_LABELS
from actionwatch.text.matchers import Matcher, parse_matcher
from actionwatch.text.suggestions import suggest

_ALTERNATIVES = re.compile(r"[\w.-]+(?:\|[\w.-]+)+")  # a regular expression that only lists words
_PROBES = ("", "a", "Z9", "eve@example.com", "two words", "\u2603")  # what only `.*` and the like match all


@dataclass(frozen=True, slots=True)
class Doubt:
    """A probable mistake in a matcher; `index` is its place in the list."""

    index: int
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The labels that alerts can have, or records (`noun`).

    `choices` are the labels with a known set of values, which contains "" if an alert can be without the label. The values of
    `open_labels` are not known.
    """

    choices: Mapping[str, Collection[str]]
    open_labels: Collection[str]
    noun: str = "alert"
    of_sources: Collection[str] = ()
    """The labels that sources have."""

    def of_records(self) -> Vocabulary:
        """Return the labels that records have."""
        names = {*RECORD_LABELS, "source", *self.of_sources}
        choices = {name: values for name, values in self.choices.items() if name in names}
        return Vocabulary(choices, [name for name in self.open_labels if name in names], "record")

    def doubts(self, texts: Sequence[str]) -> list[Doubt]:
        """Return what is doubtful about valid matchers that must all match, in their order."""
        matchers = [parse_matcher(text) for text in texts]
        found = [doubt for index, matcher in enumerate(matchers) for doubt in self._of_one(index, matcher)]
        doubted = {doubt.index for doubt in found}
        return [*found, *self._contradictions([each for each in enumerate(matchers) if each[0] not in doubted])]

    def check_label(self, name: str) -> str:
        """Return what is wrong with the name of a label; "" if alerts can have it."""
        known = [*self.choices, *self.open_labels]
        if name in known:
            return ""
        remedy = suggest(name, known, "labels are") or "docs/configuration.md lists the labels under route"
        return f"no {self.noun} has the label '{name}': {remedy}"

    def _of_one(self, index: int, matcher: Matcher) -> Iterator[Doubt]:
        if wrong := self.check_label(matcher.label):
            what, _, remedy = wrong.partition(": ")
            yield Doubt(index, what, remedy)
        elif matcher.label not in self.choices:
            # Other expressions may match a value that is not known here.
            results = {matcher.is_met({matcher.label: text}) for text in _PROBES}
            if matcher.operator.endswith("~") and results == {matcher.operator == "=~"}:
                yield from _decides_nothing(index, matcher, is_met=results.pop())
        else:
            yield from _among(index, matcher, self.choices[matcher.label])

    def _contradictions(self, matchers: Sequence[tuple[int, Matcher]]) -> Iterator[Doubt]:
        """Yield the matchers that exclude what earlier ones of the same label leave."""
        left: dict[str, list[str]] = {}
        for index, matcher in matchers:
            if matcher.label not in self.choices:
                continue
            before = left.get(matcher.label, list(self.choices[matcher.label]))
            left[matcher.label] = [value for value in before if matcher.is_met({matcher.label: value})]
            if before and not left[matcher.label]:
                what = f"{matcher} matches no alert that the other matchers of '{matcher.label}' match"
                yield Doubt(index, what, "all must match: remove one, or write one with =~ and |")


def _among(index: int, matcher: Matcher, choices: Collection[str]) -> Iterator[Doubt]:
    """Yield the doubts about a label with known values: words that are none of them, and matchers that decide nothing."""
    named = [choice for choice in choices if choice]
    words = matcher.value.split("|") if _lists_words(matcher) else []
    unknown = [word for word in words if word and word not in choices]
    for word in unknown:
        yield Doubt(index, f"'{word}' is no {matcher.label}", suggest(word, named, "there are") or "correct it")
    results = {matcher.is_met({matcher.label: choice}) for choice in choices}
    if not unknown and len(results) == 1:
        yield from _decides_nothing(index, matcher, is_met=results.pop())


def _lists_words(matcher: Matcher) -> bool:
    return not matcher.operator.endswith("~") or _ALTERNATIVES.fullmatch(matcher.value) is not None


def _decides_nothing(index: int, matcher: Matcher, *, is_met: bool) -> Iterator[Doubt]:
    remedy = "remove it, or name fewer values" if is_met else "correct it"
    yield Doubt(index, f"{matcher} matches {'every' if is_met else 'no'} alert", remedy)

"""Ask for the answers that make a new rule, and show after each how often it would have fired."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionwatch.base.durations import parse_duration, spell_duration
from actionwatch.base.errors import ConfigError
from actionwatch.base.model import LEVELS
from actionwatch.cli.output import echo
from actionwatch.cli.rules.draft import MAX_COUNT, Draft, contradiction, somebody_else
from actionwatch.instaclustr.kinds import normalise_kind
from actionwatch.rules.fields import FIELDS, field_named
from actionwatch.text.suggestions import did_you_mean, suggest

if TYPE_CHECKING:
    from actionwatch.cli.rules.preview import DraftPreview
    from actionwatch.rules.model import Rule

_NEAR = 3  # kinds to suggest for an unknown word
_NONE = "-"  # the answer that takes no default
RECORD, COUNT, SEQUENCE, ABSENCE = "record", "count", "sequence", "absence"
_WAYS = (RECORD, COUNT, SEQUENCE, ABSENCE)
_WITHIN = {COUNT: "10m", SEQUENCE: "1h", ABSENCE: "26h"}
_SEPARATELY = f"Separately for each value of which fields? (separated by commas; {_NONE}: all together)"
_GROUP_BY = {
    RECORD: "Group alerts by which fields? (separated by commas; Enter: one alert per record)",
    COUNT: _SEPARATELY,
    SEQUENCE: _SEPARATELY,
    ABSENCE: "Which field has values that must each occur? (Enter: any record is enough)",
}
_OF_WAYS = ("count", "distinct", "then", "within", "group_by", "expect")  # the answers that belong to a way


@dataclass(frozen=True, slots=True)
class _Question:
    """One question. `read`, a function or a type of click, parses an answer. The default "" accepts an empty answer."""

    key: str
    text: str
    read: Any
    default: str | None = None


class Interview:
    """The questions, in order, until the draft is accepted or given up."""

    def __init__(
        self,
        given: dict[str, Any],
        folder: Path,
        known_kinds: Sequence[str],
        build: Callable[[Draft], tuple[str, Sequence[Rule]]],
        preview: DraftPreview,
    ) -> None:
        self._given = given
        self._folder = folder
        self._known_kinds = known_kinds
        self._build = build
        self._preview = preview
        self._answers: dict[str, Any] = {}
        self._way = RECORD
        self._shown = ""

    def hold(self) -> tuple[Draft, str] | None:
        """Ask everything; then let the person change answers until they accept the draft. None if they do not want it."""
        echo("Answer a few questions. You can edit the file afterwards. Ctrl-C cancels without writing.\n")
        self._take_options()
        self._ask_all(self._questions())
        while True:
            built = self._show()
            choice = self._choose()
            if choice == "n":
                return None
            if choice == "y" and built is not None:
                return built
            if choice == "y":
                self._shown = ""  # say again why it is not a rule
            else:
                self._ask_again(choice)

    def _take_options(self) -> None:
        """Take over the options that were given. Raises: click.UsageError."""
        given = {name: value for name, value in self._given.items() if value not in (None, (), False)}
        for name, value in given.items():
            self._answers[name] = value
        if "kinds" in given:
            self._answers["kinds"] = tuple(check_kind(kind, self._known_kinds) for kind in given["kinds"])
        if "then" in given:
            self._answers["then"] = tuple(
                tuple(check_kind(kind, self._known_kinds) for kind in words(step)) for step in given["then"]
            )
        ways = {COUNT: "count", SEQUENCE: "then", ABSENCE: "is_missing"}
        self._way = next((way for way, name in ways.items() if name in given), RECORD)
        if self._way != RECORD:
            self._answers["way"] = self._way

    def _questions(self) -> Iterator[_Question]:
        """Yield the questions; which ones follow depends on the answers before."""
        yield _Question("title", "What does the rule detect, in a few words?", _text)
        yield _Question("name", "Name for routes and commands", self._free_name, named_after(self._answers["title"]))
        yield _Question("kinds", "Which kinds does it match? (separated by commas)", self._kinds)
        yield _Question("level", "Level", click.Choice(list(LEVELS)), "medium")
        yield _Question("users", "Which users may do this? (separated by commas; Enter: none)", _users, "")
        yield _Question("way", "Alert on each record, a count, a sequence or an absence?", click.Choice(_WAYS), RECORD)
        self._way = self._answers.get("way", RECORD)
        if self._way == COUNT:
            yield _Question("count", "How many, within a time?", click.IntRange(2, MAX_COUNT), "5")
            yield _Question(
                "distinct", "Different values of which field count? (Enter: each record counts)", _field, ""
            )
        elif self._way == SEQUENCE:
            yield _Question(
                "then", "Which kinds follow? (alternatives separated by commas, steps by 'then')", self._steps
            )
        if self._way != RECORD:
            yield _Question("within", "Within which time?", _time, _WITHIN[self._way])
        default = "userName" if self._way in (COUNT, SEQUENCE) else ""
        yield _Question("group_by", _GROUP_BY[self._way], _fields, default)
        if self._way == ABSENCE and self._answers.get("group_by"):
            yield _Question("expect", "Which values must occur? (separated by commas; @NAME: those of a list)", _values)

    def _ask_all(self, questions: Iterator[_Question]) -> None:
        for question in questions:
            if question.key not in self._answers:
                self._ask(question)
                self._show()

    def _ask_again(self, key: str) -> None:
        """Ask one question again; another way has other questions."""
        if key == "way":
            for name in _OF_WAYS:
                self._answers.pop(name, None)
        before = _spelled(self._answers.pop(key, None))
        for question in self._questions():
            if question.key == key:
                self._ask(question, before)
            elif question.key not in self._answers:
                self._ask(question)

    def _ask(self, question: _Question, before: str = "") -> None:
        default = before or question.default
        self._answers[question.key] = click.prompt(
            question.text,
            default,
            type=question.read,
            show_default=bool(default),
            prompt_suffix=": " if default else " ",
        )

    def _show(self) -> tuple[Draft, str] | None:
        """Show how often the draft would have fired, once it is a rule, and return it with its text."""
        if not {"title", "name", "kinds"} <= self._answers.keys():
            return None
        draft = self._draft()
        if contradiction(draft):
            return None
        try:
            text, rules = self._build(draft)
        except ConfigError as exc:
            self._say(f"this is not a rule yet: {exc.faults[0].what}")
            return None
        except click.ClickException as exc:
            self._say(f"this is not a rule yet: {exc.message}")
            return None
        self._say(self._preview.describe(rules))
        return draft, text

    def _say(self, what: str) -> None:
        """Print what became of the draft, unless it is what was printed last."""
        if what != self._shown:
            echo("  → " + what.replace("\n", "\n    "), fg="cyan")
        self._shown = what

    def _draft(self) -> Draft:
        answers = {name: value for name, value in self._answers.items() if name != "way"}
        return Draft(**answers | {"is_missing": self._way == ABSENCE})

    def _choose(self) -> str:
        """Ask whether to write the draft. Return y, n, or the key of the answer to change."""
        keys = {question.key.replace("_", "-"): question.key for question in self._questions()}
        path = self._folder / f"{self._answers['name']}.yml"
        if problem := contradiction(self._draft()):
            echo(f"  {problem}", fg="yellow")

        def read(text: str) -> str:
            word = text.strip().lower()
            if word in ("y", "yes", "n", "no"):
                return word[0]
            if word not in keys:
                raise click.UsageError(did_you_mean(word, keys) or "answer y, n, or one of these words")
            return keys[word]

        question = f"\nWrite {path}? (y, n, or what to change: {', '.join(keys)})"
        choice: str = click.prompt(question, "y", value_proc=read, prompt_suffix=" ")
        return choice

    def _free_name(self, text: str) -> str:
        path = self._folder / f"{check_name(text.strip())}.yml"
        if path.exists():
            raise click.UsageError(f"{path} exists: choose another name")
        return text.strip()

    def _kinds(self, text: str) -> tuple[str, ...]:
        found = tuple(check_kind(word, self._known_kinds) for word in words(text))
        if not found:
            raise click.UsageError("enter at least one kind, such as DELETE_CLUSTER")
        return found

    def _steps(self, text: str) -> tuple[tuple[str, ...], ...]:
        return tuple(self._kinds(step) for step in re.split(r"\bthen\b", text, flags=re.IGNORECASE))


def named_after(title: str) -> str:
    """Derive a name from a title."""
    return re.sub(r"\W+", "_", title.lower(), flags=re.ASCII).strip("_") or "rule"


def check_name(text: str) -> str:
    """Return a name of a rule. Raises: click.UsageError."""
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", text, re.ASCII):
        raise click.UsageError("a name consists of letters, digits, _, . and -")
    return text


def check_kind(word: str, known: Sequence[str]) -> str:
    """Return the normalised kind. Raises: click.UsageError with similar kinds, if the upstream is not known to record it."""
    name = normalise_kind(word)
    if name in known:
        return name
    near = get_close_matches(name, known, n=_NEAR, cutoff=0.6) or [each for each in known if name in each][:_NEAR]
    hint = f"did you mean {', '.join(near)}? " if near else ""
    remedy = f"{hint}If your upstream records it, add it to extra_kinds in the configuration"
    raise click.UsageError(f"{name} is not a documented kind: {remedy}")


def words(text: str) -> list[str]:
    """Split an answer at its commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _text(text: str) -> str:
    if not text.strip():
        raise click.UsageError("enter a few words")
    return text.strip()


def _users(text: str) -> tuple[str, ...]:
    found = tuple(words(text))
    if not somebody_else(found):
        raise click.UsageError(f"the rule can never alert: {', '.join(found)} exclude every user")
    return found


def _field(text: str) -> str | None:
    found = _fields(text)
    if len(found) > 1:
        raise click.UsageError("enter one field")
    return found[0] if found else None


def _fields(text: str) -> tuple[str, ...]:
    found = () if text.strip() == _NONE else tuple(words(text))
    for word in found:
        if field_named(word) is None:
            raise click.UsageError(f"unknown field '{word}': {suggest(word, FIELDS, 'fields are')}")
    return found


def _values(text: str) -> tuple[str, ...]:
    if not (found := tuple(words(text))):
        raise click.UsageError("enter at least one value")
    return found


def _time(text: str) -> timedelta:
    try:
        span = parse_duration(text)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    if span < timedelta(seconds=1) or span.microseconds:
        raise click.UsageError("a time is a whole number of seconds, at least 1s")
    return span


def _spelled(answer: Any) -> str:
    """Write an answer as it is typed."""
    if isinstance(answer, timedelta):
        return spell_duration(answer)
    if isinstance(answer, tuple):
        return (
            " then ".join(map(_spelled, answer))
            if any(isinstance(each, tuple) for each in answer)
            else ", ".join(answer)
        )
    return "" if answer is None else str(answer)

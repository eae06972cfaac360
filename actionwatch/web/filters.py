"""The parameters of a query: the filters of each list, for the API and the console, and the place and size of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from starlette.datastructures import QueryParams

from actionwatch.base.clock import utc_now
from actionwatch.base.model import LEVELS, STATUSES, RecordFilter
from actionwatch.base.search_words import words_of
from actionwatch.instaclustr.kinds import normalise_kind
from actionwatch.queries import PAGE_SIZE, deliveries, silences
from actionwatch.queries.rules import RuleFilter, RuleOrder
from actionwatch.queries.source_health import SourceHealth
from actionwatch.queries.sources import SourceFilter, SourceOrder
from actionwatch.rules.tactics import TACTICS
from actionwatch.store.alerts import AlertFilter
from actionwatch.store.statements import PageKind
from actionwatch.text.escaping import shorten
from actionwatch.text.matchers import parse_matcher
from actionwatch.text.payloads import JsonSchema
from actionwatch.web.mistakes import sentences
from actionwatch.web.problems import InvalidRequest
from actionwatch.web.query import MAX_CHARS, UrlQuery, grouped, read_cursor, read_time

RULE_ORDERS = [order.value for order in RuleOrder]
MAX_LIMIT = 200  # items of a page
_SHOWN_CHARS = 60
_TIME = "RFC 3339, or a duration before now (7d)"
REPEATABLE = frozenset({"level", "status", "rule", "kind", "label"})


class Strict(BaseModel):
    """A query or a body. A name that it does not know is an error: a program would not see that it has no effect."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        unknown = [name for name in given if name not in cls.model_fields] if isinstance(given, dict) else []
        if unknown:
            raise ValueError(
                f"{shorten(unknown[0], _SHOWN_CHARS)} is unknown: use {', '.join(cls.model_fields) or 'no parameter'}"
            )
        return given


def check_repeats(given: QueryParams) -> None:
    """Check that only filters that may be repeated are. Raises: InvalidRequest."""
    for name, count in Counter(name for name, _ in given.multi_items()).items():
        if count > 1 and name not in REPEATABLE:
            raise InvalidRequest(f"{shorten(name, _SHOWN_CHARS)} is given more than once: give it once")


def _known(accepted: Collection[str]) -> Callable[[str], str]:
    def check(word: str) -> str:
        if word not in accepted:
            raise ValueError(f"{shorten(word, _SHOWN_CHARS)} is unknown: use {', '.join(accepted)}")
        return word

    return check


def _check_time(text: str) -> str:
    """Check a time; what it means depends on when the request is answered. Raises: ValueError."""
    read_time(text, utc_now())
    return text


def _check_words(text: str) -> str:
    """Check that a search has not too many words. Raises: ValueError."""
    words_of(text)
    return text


def _check_matcher(text: str) -> str:
    """Check a matcher of labels. Raises: ValueError."""
    parse_matcher(text)
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_CHARS)]
_Time = Annotated[Text, AfterValidator(_check_time)]
_Words = Annotated[Text, AfterValidator(_check_words)]
_Level = Annotated[str, AfterValidator(_known(LEVELS)), JsonSchema({"enum": list(LEVELS)})]
ANY = "any"  # of the statuses
_STATUSES = [*STATUSES, ANY]
_Status = Annotated[str, AfterValidator(_known(_STATUSES)), JsonSchema({"enum": _STATUSES})]
_State = Annotated[str, AfterValidator(_known(deliveries.STATES)), JsonSchema({"enum": list(deliveries.STATES)})]
_Tactic = Annotated[str, AfterValidator(_known(TACTICS)), JsonSchema({"enum": list(TACTICS)})]
_RuleOrder = Annotated[str, AfterValidator(_known(RULE_ORDERS)), JsonSchema({"enum": list(RULE_ORDERS)})]
_SourceState = Annotated[str, AfterValidator(_known([*SourceHealth]))]
_SourceOrder = Annotated[str, AfterValidator(_known([*SourceOrder]))]
_Matcher = Annotated[Text, AfterValidator(_check_matcher)]
_SilenceState = Annotated[str, AfterValidator(_known(silences.STATES)), JsonSchema({"enum": list(silences.STATES)})]


class NoParameters(Strict):
    """The query of an operation without parameters."""


class Paging(Strict):
    """The place and size of a page."""

    cursor: Annotated[str, StringConstraints(min_length=1, max_length=2 * MAX_CHARS)] | None = Field(
        None, description="`next` of the page before"
    )
    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_LIMIT, description="How many items")

    def after(self, *kinds: PageKind) -> tuple[Any, ...] | None:
        """Return the place after which the page begins. Raises: InvalidRequest."""
        return read_cursor("cursor", self.cursor, *kinds)


class _Subjects(Paging):
    user: Text | None = Field(None, description="Only this user")
    cluster: Text | None = Field(None, description="Only this cluster, by id or name")
    account: Text | None = Field(None, description="Only this account, by id or name")
    since: _Time | None = Field(None, description=f"At or after this time: {_TIME}", examples=["7d"])
    until: _Time | None = Field(None, description=f"At or before this time: {_TIME}", examples=["7d"])

    def _span(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        since, until = self.since and read_time(self.since, now), self.until and read_time(self.until, now)
        return since or None, until or None


class AlertQuery(_Subjects):
    """Which alerts a list has."""

    level: list[_Level] = Field([], description="Only this level; may be repeated")
    status: list[_Status] = Field(
        [],
        description="Only in this status; may be repeated. Without it: what needs a person, which is open alerts without those "
        "of shadow rules",
    )
    rule: list[Text] = Field([], description="Only this rule, by name or id; may be repeated")
    source: Text | None = Field(None, description="Only of this source")
    assigned: Text | None = Field(None, description="Only assigned to this person")
    unassigned: bool = Field(False, description="Only assigned to nobody")
    text: _Words | None = Field(
        None,
        description="Words, each in the title, body, rule or id, or in a user, cluster, account or kind of its records",
    )

    def filter(self, now: datetime) -> AlertFilter:
        """Return the filter at an instant."""
        since, until = self._span(now)
        return AlertFilter(
            levels=[LEVELS[word] for word in self.level],
            statuses=[STATUSES[word] for word in self.status] if ANY not in self.status else [],
            needs_person=not self.status,
            source=self.source,
            assigned=self.assigned,
            is_unassigned=self.unassigned,
            rules=self.rule,
            user=self.user,
            cluster=self.cluster,
            account=self.account,
            text=self.text,
            since=since,
            until=until,
        )


class RecordQuery(_Subjects):
    """Which records a list has."""

    kind: list[Text] = Field([], description="Only this kind; may be repeated")
    text: _Words | None = Field(
        None,
        description="Words, each in the user, cluster, account, kind or description, or the beginning of the key. A record "
        "with a word in its description only may follow older ones",
    )

    def filter(self, now: datetime) -> RecordFilter:
        """Return the filter at an instant."""
        since, until = self._span(now)
        return RecordFilter(
            kinds=[normalise_kind(kind) for kind in self.kind],
            user=self.user,
            cluster=self.cluster,
            account=self.account,
            text=self.text,
            since=since,
            until=until,
        )


class RuleQuery(Strict):
    """Which rules the page has, and in which order."""

    text: _Words | None = Field(None, description="Words, each in the name, title, id or tags")
    level: list[_Level] = Field([], description="Only this level; may be repeated")
    tactic: _Tactic | None = Field(None, description="Only with this tactic of ATT&CK")
    sort: _RuleOrder = Field("name", description="The order")

    def filter(self) -> RuleFilter:
        """Return the filter."""
        levels = [LEVELS[word] for word in self.level]
        return RuleFilter(self.text, levels, self.tactic)


class SourceQuery(Strict):
    """Which sources the page has, and in which order."""

    text: _Words | None = Field(None, description="Words, each in the name")
    label: list[_Matcher] = Field([], description="Only with labels that match, such as customer=acme; may be repeated")
    state: _SourceState | None = Field(None, description="Only in this state")
    sort: _SourceOrder = Field("worst", description="The order")

    def filter(self) -> SourceFilter:
        """Return the filter."""
        matchers = [parse_matcher(text) for text in self.label]
        return SourceFilter(self.text, matchers, SourceHealth(self.state) if self.state else None)

    def given(self) -> dict[str, Any]:
        """Return what differs from the default, as the query of a link."""
        return self.model_dump(exclude_defaults=True)


class DeliveryQuery(Paging):
    """Which deliveries a list has."""

    state: _State = Field("waiting", description="waiting; held until a summary; or dead letters")
    receiver: Text | None = Field(None, description="Only for this receiver")


class SilenceQuery(Paging):
    """Which silences a list has."""

    state: _SilenceState = Field(
        "current",
        description="`current`: active and to come, all on one page; or expired ones. The last end comes first",
    )


_Form = TypeVar("_Form", bound=Strict)


def read_form(query: UrlQuery, form: type[_Form]) -> _Form:
    """Read the filters of a list as a browser sends them, which sends empty ones too. What is not valid is left out."""
    names = form.model_fields.keys() - Paging.model_fields.keys()
    given = {name: [text for text in texts if text.strip()] for name, texts in grouped(query.given).items()}
    values: dict[str, Any] = {
        name: texts if name in REPEATABLE else texts[-1] for name, texts in given.items() if texts and name in names
    }
    try:
        return form.model_validate(values)
    except ValidationError as exc:
        wrong: list[dict[str, Any]] = [{**error, "loc": ("query", *error["loc"])} for error in exc.errors()]
        query.problems |= {str(error["loc"][1]): text for error, text in zip(wrong, sentences(wrong), strict=True)}
        return form.model_validate({name: value for name, value in values.items() if name not in query.problems})

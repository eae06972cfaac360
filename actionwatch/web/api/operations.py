"""The operations of the API, as data: paths, parameters, bodies, responses. The routes and the OpenAPI document follow them."""

from __future__ import annotations

from collections.abc import Collection

from actionwatch.base.model import LEVELS
from actionwatch.text.payloads import DeliveryDocument, SilenceDocument
from actionwatch.web.api import documents, views
from actionwatch.web.api.call import DEFAULT_LIMIT, MAX_LIMIT, Operation, Parameter
from actionwatch.web.query import MAX_CHARS
from actionwatch.web.reading import DELIVERY_STATES, STATUSES

_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_CHARS}


def _time(name: str, about: str) -> Parameter:
    return Parameter(name, f"{about}: RFC 3339, or a duration before now (7d)", {**_TEXT, "examples": ["7d"]})


def _words(name: str, about: str, words: Collection[str] = ()) -> Parameter:
    item = {"type": "string", "enum": list(words)} if words else _TEXT
    return Parameter(name, f"{about}; may be repeated", {"type": "array", "items": item})


def _text(name: str, about: str) -> Parameter:
    return Parameter(name, about, _TEXT)


_PAGING = (
    Parameter("cursor", "`next` of the page before", {**_TEXT, "maxLength": 2 * MAX_CHARS}),
    Parameter(
        "limit",
        "How many items",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
)
_SUBJECTS = (
    _text("user", "Only this user"),
    _text("cluster", "Only this cluster, by id or name"),
    _text("account", "Only this account, by id or name"),
)
_SPAN = (_time("since", "At or after this time"), _time("until", "At or before this time"))
_ALERT_FILTERS = (
    _words("level", "Only this level", LEVELS),
    _words("status", "Only in this status", STATUSES),
    _words("rule", "Only this rule, by name or id"),
    *_SUBJECTS,
    _text("text", "Text in the title or body"),
    *_SPAN,
)
_RECORD_FILTERS = (
    _words("kind", "Only this kind"),
    *_SUBJECTS,
    _text("text", "Text in the description"),
    *_SPAN,
)
_DELIVERY_FILTERS = (
    Parameter(
        "state",
        "waiting; held until a summary; or dead letters",
        {"type": "string", "enum": list(DELIVERY_STATES), "default": "waiting"},
    ),
    _text("receiver", "Only for this receiver"),
)
_SILENCE_FILTERS = (
    Parameter(
        "state",
        "`current`: active and to come, all on one page; or expired ones, last end first",
        {"type": "string", "enum": ["current", "expired"], "default": "current"},
    ),
)


_LISTING, _ONE, _CHANGE = (400,), (400, 404), (400, 404, 413, 415)  # the errors of each sort of operation

OPERATIONS = (
    Operation(
        name="listAlerts",
        summary="List alerts, newest first. A page of a search reads 20,000 alerts: it may be empty although others follow.",
        method="GET",
        path="/alerts",
        view=views.list_alerts,
        answer=documents.AlertPage,
        parameters=(*_ALERT_FILTERS, *_PAGING),
        errors=_LISTING,
    ),
    Operation(
        name="getAlert",
        summary="Show one alert. A unique prefix of its id is enough.",
        method="GET",
        path="/alerts/{id}",
        view=views.get_alert,
        answer=documents.AlertDetail,
        errors=_ONE,
    ),
    Operation(
        name="acknowledgeAlert",
        summary="Acknowledge an alert, which stops its escalation. Repeating it changes nothing.",
        method="POST",
        path="/alerts/{id}/acknowledge",
        view=views.acknowledge,
        body=documents.DecisionBody,
        answer=documents.AlertItem,
        errors=_CHANGE,
    ),
    Operation(
        name="resolveAlert",
        summary="Resolve an alert: the next match opens a new one. Repeating it changes nothing.",
        method="POST",
        path="/alerts/{id}/resolve",
        view=views.resolve,
        body=documents.DecisionBody,
        answer=documents.AlertItem,
        errors=_CHANGE,
    ),
    Operation(
        name="listRecords",
        summary="Search records, newest first. A page reads 10,000 records: it may be empty although others follow.",
        method="GET",
        path="/records",
        view=views.list_records,
        answer=documents.RecordPage,
        parameters=(*_RECORD_FILTERS, *_PAGING),
        errors=_LISTING,
    ),
    Operation(
        name="getRecord",
        summary="Show one record. A unique prefix of its key is enough.",
        method="GET",
        path="/records/{key}",
        view=views.get_record,
        answer=documents.RecordDetail,
        errors=_ONE,
    ),
    Operation(
        name="listDeliveries",
        summary="List the deliveries that are not done, by receiver and time.",
        method="GET",
        path="/deliveries",
        view=views.list_deliveries,
        answer=documents.DeliveryPage,
        parameters=(*_DELIVERY_FILTERS, *_PAGING),
        errors=_LISTING,
    ),
    Operation(
        name="getDelivery",
        summary="Show one delivery with its message. A unique prefix of its id is enough.",
        method="GET",
        path="/deliveries/{id}",
        view=views.get_delivery,
        answer=documents.DeliveryDetail,
        errors=_ONE,
    ),
    Operation(
        name="retryDelivery",
        summary="Send a dead letter again, or to another receiver. Repeating it changes nothing while it waits or is sent.",
        method="POST",
        path="/deliveries/{id}/retry",
        view=views.retry_delivery,
        body=documents.RetryBody,
        answer=DeliveryDocument,
        errors=(*_CHANGE, 409),
    ),
    Operation(
        name="dropDelivery",
        summary="Give up a dead letter for good. Repeating it changes nothing.",
        method="POST",
        path="/deliveries/{id}/drop",
        view=views.drop_delivery,
        body=documents.DropBody,
        answer=DeliveryDocument,
        errors=(*_CHANGE, 409),
    ),
    Operation(
        name="listSilences",
        summary="List silences.",
        method="GET",
        path="/silences",
        view=views.list_silences,
        answer=documents.SilencePage,
        parameters=(*_SILENCE_FILTERS, *_PAGING),
        errors=_LISTING,
    ),
    Operation(
        name="getSilence",
        summary="Show one silence. A unique prefix of its id is enough.",
        method="GET",
        path="/silences/{id}",
        view=views.get_silence,
        answer=SilenceDocument,
        errors=_ONE,
    ),
    Operation(
        name="createSilence",
        summary="Create a silence under an id that the client chooses, a UUID. Repeating it changes nothing.",
        method="PUT",
        path="/silences/{id}",
        view=views.create_silence,
        body=documents.SilenceBody,
        answer=SilenceDocument,
        errors=(400, 409, 413, 415),
        creates=True,
    ),
    Operation(
        name="expireSilence",
        summary="End a silence now. Repeating it changes nothing.",
        method="POST",
        path="/silences/{id}/expire",
        view=views.expire_silence,
        body=documents.ExpireBody,
        answer=SilenceDocument,
        errors=(*_CHANGE, 409),
    ),
    Operation(
        name="listRules",
        summary="List the rules in use, by name.",
        method="GET",
        path="/rules",
        view=views.list_rules,
        answer=documents.RulePage,
        errors=_LISTING,
    ),
    Operation(
        name="getStatus",
        summary="Report whether actionwatch sees everything, and what needs attention.",
        method="GET",
        path="/status",
        view=views.get_status,
        answer=documents.StatusDocument,
        errors=_LISTING,
    ),
)

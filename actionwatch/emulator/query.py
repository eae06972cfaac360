"""Parse the parameters of a user-actions request, as documented."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from starlette.datastructures import QueryParams

from actionwatch.emulator.catalogue import KINDS, OPERATIONS
from actionwatch.emulator.log import DEFAULT_PAGE_SIZE, FIRST_MS, LAST_MS, LogFilter, LogQuery, to_ms

_MAX_INT32 = 2**31 - 1
_MAX_PAGE_SIZE = 1000
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


class InvalidParameterError(ValueError):
    """A parameter's value is outside what the documentation allows."""


def parse_query(parameters: QueryParams) -> LogQuery:
    """Parse a query string. Unknown parameters and empty texts are ignored.

    Raises: `InvalidParameterError`, if a number is out of range, or a value is not a number, time or boolean.
    """
    return LogQuery(
        _filter(parameters),
        _time(parameters, "startTime", FIRST_MS),
        _time(parameters, "endTime", LAST_MS),
        _integer(parameters, "recordIndex", 0, 0, _MAX_INT32),
        _integer(parameters, "pageSize", DEFAULT_PAGE_SIZE, 1, _MAX_PAGE_SIZE),
        _boolean(parameters, "getActionCounts", default=True),
    )


def _filter(parameters: QueryParams) -> LogFilter:
    return LogFilter(
        kinds=_known(parameters.getlist("actionKinds"), KINDS),
        operations=_known(parameters.getlist("crudOperations"), dict.fromkeys(OPERATIONS)),
        account=parameters.get("account") or None,
        cluster_id=parameters.get("clusterId") or None,
        user_name=parameters.get("userName") or None,
        keyword=parameters.get("descriptionKeyword") or None,
        organisation_only=_boolean(parameters, "organisationLogsOnly", default=False),
        account_only=_boolean(parameters, "accountLogsOnly", default=False),
    )


def _known(values: Sequence[str], known: Mapping[str, object]) -> frozenset[str] | None:
    """Drop invalid values, as documented. If none is left, there is no filter."""
    return frozenset(value for value in values if value in known) or None


def _integer(parameters: QueryParams, name: str, default: int, low: int, high: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not low <= int(text) <= high:
        raise InvalidParameterError(f"{name}: must be a number from {low} to {high}")
    return int(text)


def _boolean(parameters: QueryParams, name: str, *, default: bool) -> bool:
    text = parameters.get(name)
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise InvalidParameterError(f"{name}: must be true or false")
    return text.lower() == "true"


def _time(parameters: QueryParams, name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    try:
        return parse_time(text)
    except (ValueError, OverflowError) as exc:
        raise InvalidParameterError(f"{name}: must be milliseconds since epoch or an ISO date and time") from exc


def parse_time(text: str) -> int:
    """Convert milliseconds since the epoch, or an ISO date and time (UTC if it has no zone), to milliseconds since the epoch.

    Raises: `ValueError`, if it is neither; `OverflowError`.
    """
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if not _ISO_TIME.fullmatch(text):
        raise ValueError(f"neither milliseconds nor an ISO date and time: {text!r}")
    moment = datetime.fromisoformat(text)
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

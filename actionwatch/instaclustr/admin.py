"""The two operations that write upstream. Only commands use them, never the service.

They are not retried: if the response is lost, the upstream may have executed the request.
"""

from __future__ import annotations

from contextlib import closing

from actionwatch.base.errors import BadRequest, BadResponse, SourceUnavailable
from actionwatch.instaclustr.origin import ConnectionOptions, Origin
from actionwatch.net.http_response import HttpResponse

_MAY_BE_DONE = "the upstream may have executed the request: check `actionwatch accounts list` before you retry"


def create_account(connection: ConnectionOptions, name: str) -> str:
    """Create an account, link it to the organisation, and return its id.

    Raises: BadRequest, if the name is refused, the user lacks rights (400) or the organisation is unknown (404);
    AccessDenied, RateLimited; SourceUnavailable and BadResponse, if the upstream may have executed the request.
    """
    if not name.strip():
        raise BadRequest("an account needs a name")
    response = _write(connection, "POST", connection.path("linked-accounts"), {"accountName": name})
    account_id = response.json_object().get("accountId")
    if not isinstance(account_id, str) or not account_id:
        raise BadResponse("the upstream accepted the new account but returned no accountId", _MAY_BE_DONE)
    return account_id


def unlink_account(connection: ConnectionOptions, account_id: str) -> None:
    """Unlink an account. Its later actions do not appear in the log of the organisation.

    Raises: as `create_account`; BadRequest also if the account is not linked (404).
    """
    try:
        path = connection.path("linked-accounts", account_id)
    except ValueError as exc:
        raise BadRequest(str(exc)) from exc
    _write(connection, "DELETE", path, None)


def _write(connection: ConnectionOptions, method: str, path: str, body: object) -> HttpResponse:
    accounts = connection.path("linked-accounts")
    with closing(Origin(connection, allowed=[("POST", accounts), ("DELETE", f"{accounts}/")])) as origin:
        try:
            return origin.exchange(method, path, body=body)
        except SourceUnavailable as exc:
            raise SourceUnavailable(exc.what, _MAY_BE_DONE, exc.retry_after) from exc

"""The two operations that write upstream. Only commands use them, never the service.

They are not retried: if the response is lost, the upstream may have executed the request.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager

from actionwatch.base.errors import BadRequest, BadResponse, SourceUnavailable
from actionwatch.instaclustr.origin import ConnectionOptions, Origin

_MAY_BE_DONE = "the upstream may have executed the request: check `actionwatch accounts list` before you retry"


class Admin(AbstractContextManager["Admin"]):
    """Creates accounts of one organisation and unlinks them from it."""

    def __init__(self, connection: ConnectionOptions) -> None:
        self._connection = connection
        self._accounts = connection.path("linked-accounts")
        self._origin = Origin(connection, allowed=[("POST", self._accounts), ("DELETE", f"{self._accounts}/")])

    def create_account(self, name: str) -> str:
        """Create an account, link it to the organisation, and return its id.

        Raises: BadRequest, if the name is refused, the user lacks rights (400) or the organisation is unknown (404);
        AccessDenied, RateLimited; SourceUnavailable and BadResponse, if the upstream may have executed the request.
        """
        if not name.strip():
            raise BadRequest("an account needs a name")
        body = self._write("POST", self._accounts, {"accountName": name})
        try:
            made = json.loads(body)
        except (ValueError, RecursionError):
            made = None
        account_id = made.get("accountId") if isinstance(made, dict) else None
        if not isinstance(account_id, str) or not account_id:
            raise BadResponse("the upstream accepted the new account but returned no accountId", _MAY_BE_DONE)
        return account_id

    def unlink_account(self, account_id: str) -> None:
        """Unlink an account. Its later actions do not appear in the log of the organisation.

        Raises: as `create_account`; BadRequest also if the account is not linked (404).
        """
        try:
            path = self._connection.path("linked-accounts", account_id)
        except ValueError as exc:
            raise BadRequest(str(exc)) from exc
        self._write("DELETE", path, None)

    def close(self) -> None:
        self._origin.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, method: str, path: str, body: object) -> bytes:
        try:
            return self._origin.exchange(method, path, body=body).body
        except SourceUnavailable as exc:
            raise SourceUnavailable(exc.what, _MAY_BE_DONE, exc.retry_after) from exc

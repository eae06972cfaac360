"""An authenticating proxy before the listener: it says in a header who sends a request. Only its addresses are believed.

A program that runs there can act under any name. A header that such a proxy would not send is refused.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request

from actionwatch.base.access import MAX_AUTHOR_CHARS, AccessRole, Person, is_person
from actionwatch.base.plurals import counted
from actionwatch.web.hosts import NOT_SERVED, is_served

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Refused(Exception):
    """A request that is not accepted, with the status of the response."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProxy:
    """The proxy. `hosts` are the names, in lower case, by which people address it."""

    addresses: Collection[Network]
    user_header: str | None
    groups_header: str
    operators: Collection[str] = ()
    operator_groups: Collection[str] = ()
    hosts: Collection[str] = ()

    def identify(self, request: Request) -> Person | None:
        """Return the person whom the proxy names; None without its header. Raises: Refused."""
        header = self.user_header
        given = request.headers.getlist(header) if header is not None else []
        if header is None or not given:
            return None
        if not self._trusts(peer := peer_of(request)):
            raise Refused(403, f"{header} is accepted only from web.proxy.addresses, not from {peer}")
        if not is_served(request.headers.get("host"), self.hosts):
            raise Refused(421, NOT_SERVED)
        name = _name(_only(given, header), header)
        listed = request.headers.getlist(self.groups_header)
        groups = _groups(_only(listed, self.groups_header)) if listed else set()
        is_operator = name in self.operators or not groups.isdisjoint(self.operator_groups)
        role = AccessRole.OPERATOR if is_operator else AccessRole.READER
        return Person(name, role)

    def client_of(self, request: Request) -> str:
        """Return the address from which a request came to the first proxy that is trusted."""
        address = peer_of(request)
        passed_on = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        for each in reversed(passed_on):
            if not each.strip() or not self._trusts(address):
                break
            address = each.strip()
        return address

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        plain = getattr(found, "ipv4_mapped", None) or found
        return any(plain in network for network in self.addresses)


def _name(given: str, header: str) -> str:
    try:
        name = _as_utf8(given)
    except UnicodeDecodeError as exc:
        raise Refused(400, f"{header} is not UTF-8") from exc
    if not is_person(name):
        raise Refused(400, f"{header} is not a name: use 1 to {MAX_AUTHOR_CHARS} printable characters without a comma")
    return name


def _as_utf8(given: str) -> str:
    """Read the bytes of a header, which the server reads as Latin-1, as UTF-8. Raises: UnicodeDecodeError."""
    return given.encode("latin-1").decode()


def _groups(given: str) -> set[str]:
    """Return the groups in a header. It is UTF-8, as browsers and proxies send it; else each byte is a character."""
    with contextlib.suppress(UnicodeDecodeError):
        given = _as_utf8(given)
    return {each.strip() for each in given.split(",")}


def _only(given: list[str], header: str) -> str:
    """Return the one value of a header. Raises: Refused: another one may be of a client, which the proxy passed on."""
    if len(given) > 1:
        raise Refused(400, f"{header} was sent {counted(len(given), 'time')}: let the proxy replace what clients send")
    return given[0]


def peer_of(request: Request) -> str:
    """Return the address at the other end of the connection."""
    return request.client.host if request.client else ""

"""The keys of the section `web` of the configuration file: who may open the console, and how people sign in."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from actionwatch.settings.validators import (
    Address,
    Flag,
    HeaderName,
    HostName,
    Network,
    Person,
    Word,
    one_of,
    parse_address,
    parse_network,
    parse_public_url,
)
from actionwatch.text.options import Options, Secret, SecretFile, is_loopback, secret


def _open_on_loopback(is_required: bool | None, info: ValidationInfo) -> bool | None:
    listen = info.data.get("listen")
    if is_required is False and listen is not None and not is_loopback(listen.host):
        raise ValueError("false is only for a loopback address: remove it, or listen on 127.0.0.1")
    return is_required


def _other_header(name: str, info: ValidationInfo) -> str:
    if name.lower() == (info.data.get("user_header") or "").lower():
        raise ValueError("this is the header with the name of the person: write that with the groups")
    return name


def _not_blank(token: SecretStr | None) -> SecretStr | None:
    if token is not None and not token.get_secret_value().strip():
        raise ValueError("a token of spaces cannot be sent: write another one, or remove the key")
    return token


class AuthenticatingProxy(Options):
    """A proxy before the listener that signs people in, and says in a header who each request is from."""

    addresses: Annotated[tuple[Annotated[Network, BeforeValidator(parse_network)], ...], Field(min_length=1)]
    """Addresses of the proxy, as networks: `10.0.0.5/32`. The header is trusted only from there; a request from elsewhere with
    the header gets 403. A program that runs there can act under any name: run only the proxy there.
    """
    user_header: HeaderName | None = "X-Forwarded-User"
    """The header with the name of the person. The proxy must replace what clients send. `null`: the proxy signs nobody in, and
    only its `X-Forwarded-For` is trusted, so that wrong tokens of one client do not lock out the others.
    """
    operators: tuple[Person, ...] = ()
    """The names of the people who may make decisions. All others are readers."""
    groups_header: Annotated[HeaderName, AfterValidator(_other_header)] = Field(
        default="X-Forwarded-Groups", validate_default=True
    )
    """The header with the groups of the person, separated by commas."""
    operator_groups: tuple[Word, ...] = ()
    """Members of these groups may make decisions too."""


class Web(Options):
    """The console, health and metrics. Who may open them: [the console](console.md#who-can-open-it)."""

    listen: Annotated[Address, BeforeValidator(parse_address)] = Address("127.0.0.1", 8080)
    """Host and port of [the console](console.md), health and metrics; IPv6 in brackets: `"[::1]:8080"`."""
    token: Annotated[Secret | None, AfterValidator(_not_blank)] = None
    """A token that several programs and people share: programs send it; people sign in with it, may make decisions, and type
    their names. Personal tokens are better: `actionwatch tokens create`.
    """
    token_file: Annotated[SecretFile | None, AfterValidator(one_of("token"))] = None
    require_token: Annotated[Flag | None, AfterValidator(_open_on_loopback)] = None
    """Whether reading needs a token. Default: `false` on a loopback address without `token` and `proxy`, `true` otherwise.
    Set `true` if other people use the machine. Health checks never need one, and decisions always do.
    """
    url: Annotated[str | None, AfterValidator(parse_public_url)] = None
    """The public address of [the console](console.md), such as `https://watch.example.com`: messages then
    [link](receivers.md#links) to the page of their alert. Its host name is served as if it were in `hosts`.
    """
    hosts: tuple[HostName, ...] = ()
    """Host names by which clients may address a loopback listener, besides `localhost`, for example those that a
    reverse proxy passes on; the console then needs a token. IP addresses are always accepted. A request for another
    name gets 421, because a web page could otherwise read `/metrics` in the browser of a person on this machine.
    If `listen` is not a loopback address, it is only checked for requests that the proxy of `proxy` signed in.
    """
    source_metrics: Flag = True
    """`false`: `/metrics` has no metrics of each source, only the totals: for [a fleet](operations.md#a-fleet), whose metrics
    would be too many for a Prometheus.
    """

    proxy: AuthenticatingProxy | None = None
    """[An authenticating proxy](console.md#behind-an-authenticating-proxy), which signs people in:
    `{addresses: [10.0.0.5/32], operators: [sam@example.com]}`.
    """

    @property
    def access_token(self) -> str | None:
        """The shared token, from either key."""
        return secret(self.token, self.token_file)

    @property
    def served_names(self) -> frozenset[str]:
        """The host names by which clients may address the listener: those in `hosts`, and that of `url`."""
        return frozenset({*self.hosts, *([urlsplit(self.url).hostname or ""] if self.url else [])})

    @property
    def is_token_required(self) -> bool:
        """Whether reading needs a token."""
        if self.require_token is not None:
            return self.require_token
        is_behind = any(each is not None for each in (self.access_token, self.proxy))
        return is_behind or not is_loopback(self.listen.host)

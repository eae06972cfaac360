"""The keys of the section `web` of the configuration file: who may open the console, and how people sign in."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo

from actionwatch.settings.validators import (
    Address,
    Flag,
    HeaderName,
    HostName,
    Network,
    People,
    Person,
    Word,
    one_of,
    parse_address,
    parse_issuer,
    parse_network,
    parse_public_url,
    require_package,
)
from actionwatch.text.options import CaFile, Options, PositiveDuration, Proxy, Secret, SecretFile, is_loopback, secret


def _somebody(groups: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    others = [info.data.get(name, "unusable") for name in ("operators", "operator_groups", "readers")]
    if not groups and not any(others):
        raise ValueError("nobody could sign in: add operators, operator_groups, readers or reader_groups")
    return groups


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


class OpenId(Options):
    """An OpenID Connect provider with which people sign in. Needs the extra `oidc`, and `web.url`."""

    issuer: Annotated[str, AfterValidator(parse_issuer)]
    """The provider, exactly as it names itself: `https://accounts.example.com`. Its endpoints and keys are read from there."""
    client_id: Word
    """The id that the provider gave to this client. Register `WEB_URL/sign-in/callback` there as the redirect URI."""
    client_secret: Secret | None = None
    """The secret of this client. One of the two is required."""
    client_secret_file: Annotated[SecretFile | None, AfterValidator(one_of("client_secret", is_required=True))] = Field(
        default=None, validate_default=True
    )
    operators: tuple[Person, ...] = ()
    """The names of the people who may make decisions."""
    operator_groups: tuple[Word, ...] = ()
    """Members of these groups may make decisions too."""
    readers: tuple[People, ...] = ()
    """The names of the people who may read; `*@example.com` for all names that end in this, `*` for everybody whom the provider
    signs in. Nobody else can sign in.
    """
    reader_groups: Annotated[tuple[Word, ...], AfterValidator(_somebody)] = Field(default=(), validate_default=True)
    """Members of these groups may read too."""
    name_claim: Word = "email"
    """The claim with the name of the person. An email address counts only if the provider has verified it. Choose a claim that
    people cannot change, and that nobody else gets later.
    """
    groups_claim: Word = "groups"
    """The claim with the groups of the person."""
    scopes: tuple[Word, ...] = ("email",)
    """The scopes to request in addition to `openid`. Some providers send groups only for another scope."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """For a whole request, from connecting to the last byte."""
    ca_file: CaFile | None = None
    """A PEM file with certificates to trust instead of the system's."""
    proxy: Proxy | None = None
    """`http://host:port`, with `user:password@` if required. Proxies from the environment (`HTTPS_PROXY`) are not
    used.
    """

    @property
    def secret(self) -> str:
        """The secret of the client, from either key."""
        return secret(self.client_secret, self.client_secret_file) or ""


def _can_be_used(openid: OpenId | None, info: ValidationInfo) -> OpenId | None:
    if openid is None:
        return None
    url = info.data.get("url", "https://an.invalid.one.is.reported")
    if url is None:
        raise ValueError("needs web.url, to which the provider sends people back: add it")
    if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError("needs a web.url with https://: browsers keep no session over http")
    require_package("joserfc", "oidc")
    return openid


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
    """Whether reading needs a token. Default: `false` on a loopback address without `token`, `proxy` and `openid`, `true`
    otherwise.
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
    """`false`: `/metrics` has no metrics of each source, only the totals: for [a fleet](fleet.md), whose metrics would be too
    many for a Prometheus.
    """

    proxy: AuthenticatingProxy | None = None
    """[An authenticating proxy](console.md#behind-an-authenticating-proxy), such as oauth2-proxy, which signs people in:
    `{addresses: [10.0.0.5/32], operators: [sam@example.com]}`.
    """
    openid: Annotated[OpenId | None, AfterValidator(_can_be_used)] = None
    """[An OpenID Connect provider](console.md#with-openid-connect) with which people sign in:
    `{issuer: https://accounts.example.com, client_id: actionwatch, client_secret_file: …, operators: [sam@example.com]}`.
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
        is_behind = any(each is not None for each in (self.access_token, self.proxy, self.openid))
        return is_behind or not is_loopback(self.listen.host)

"""Build the ways of signing in other than tokens: an authenticating proxy, an OpenID Connect provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from actionwatch.settings import Web

if TYPE_CHECKING:
    from actionwatch.web.openid import RelyingParty
    from actionwatch.web.proxy import TrustedProxy


def trusted_proxy(options: Web) -> TrustedProxy | None:
    """Return the authenticating proxy of the configuration, if there is one."""
    from actionwatch.web.proxy import TrustedProxy

    proxy = options.proxy
    return None if proxy is None else TrustedProxy(**dict(proxy), hosts=options.served_names)


def relying_party(options: Web, clock: Callable[[], datetime]) -> RelyingParty | None:
    """Return what signs people in with the OpenID Connect provider of the configuration, if there is one."""
    if options.openid is None or options.url is None:
        return None
    from actionwatch.web.openid import RelyingParty

    return RelyingParty(options.openid, options.url, clock)

"""Build the ways of signing in other than tokens: an authenticating proxy, an OpenID Connect provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from actionwatch.settings import Web

if TYPE_CHECKING:
    from actionwatch.web.openid import Provider
    from actionwatch.web.proxy import TrustedProxy


def trusted_proxy(options: Web) -> TrustedProxy | None:
    """Return the authenticating proxy of the configuration, if there is one."""
    from actionwatch.web.proxy import TrustedProxy

    proxy = options.proxy
    return None if proxy is None else TrustedProxy(**dict(proxy), hosts=options.served_names)


def openid_provider(options: Web, clock: Callable[[], datetime]) -> Provider | None:
    """Return the OpenID Connect provider of the configuration, if there is one."""
    if options.openid is None or options.url is None:
        return None
    from actionwatch.web.openid import Provider

    return Provider(options.openid, options.url, clock)

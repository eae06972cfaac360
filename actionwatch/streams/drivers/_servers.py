"""The keys that drivers of servers have in common, with their checks."""

from __future__ import annotations

import ssl
from datetime import timedelta

from pydantic import model_validator

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.net.tls import ClientCertificate, tls_context
from actionwatch.text.options import (
    CaFile,
    ConfigPath,
    Options,
    PositiveDuration,
    Secret,
    SecretFile,
    refuse_both,
    secret,
)


class IdentityOptions(Options):
    """Our identity at a server that wants to see a certificate."""

    cert_file: ConfigPath | None = None
    """A PEM certificate for mutual TLS."""
    key_file: ConfigPath | None = None
    """The key of this certificate. It can be in the file of the certificate."""

    @model_validator(mode="after")
    def _check_identity(self) -> IdentityOptions:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file requires cert_file: add it")
        if self.identity:
            try:
                tls_context(identity=self.identity)
            except OSError as exc:  # ssl.SSLError is one
                reason = (
                    "no matching certificate and key in PEM form" if isinstance(exc, ssl.SSLError) else exc.strerror
                )
                raise ValueError(f"cannot use cert_file with key_file ({reason}): correct the files") from exc
        return self

    @property
    def identity(self) -> ClientCertificate | None:
        """The client certificate, if one is configured."""
        return ClientCertificate(self.cert_file, self.key_file) if self.cert_file else None


class LoginOptions(Options):
    """A user and a password."""

    username: str | None = None
    """The user, if the server asks for one."""
    password: Secret | None = None
    """The password of this user."""
    password_file: SecretFile | None = None

    @model_validator(mode="after")
    def _check_login(self) -> LoginOptions:
        refuse_both(self, "password", "password_file")
        if (self.username is None) != (self.login_password is None):
            raise ValueError("username and password belong together: set both or neither")
        return self

    @property
    def login_password(self) -> str | None:
        """The password, from either key."""
        return secret(self.password, self.password_file)


class ConnectionOptions(IdentityOptions):
    """The way to a server, and our identity there."""

    ca_file: CaFile | None = None
    """A PEM file with certificates to trust instead of the system's."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """For connecting, and for a whole batch up to its last confirmation."""


class ServerOptions(ConnectionOptions, LoginOptions):
    """The way to a server with users."""


def failure(place: str, what: str, remedy: str = "") -> TransientDeliveryError:
    """Return the error of a destination; `remedy` is what people must do, if they must."""
    return TransientDeliveryError(f"{place}: {what}" + (f": {remedy}" if remedy else ""))

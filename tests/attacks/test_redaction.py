"""Servers that return our credentials: cut, encoded, or both."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.errors import AccessDenied, DeliveryError, PermanentDeliveryError
from actionwatch.instaclustr.origin import ConnectionOptions, Origin
from actionwatch.net.http_response import HttpResponse
from actionwatch.notifiers import email
from actionwatch.notifiers.base import RESPONSE_CHARS, Redactor, check_response
from actionwatch.text.redaction import Redaction
from tests.cases import in_one_test
from tests.examples import examples
from tests.integration.notifiers.ends import deliver, email_options
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.notifiers.smtp_end import PASSWORD, RawEnd
from tests.unit.render.messages import message
from tests.waiting import PATIENT

SECRET = 's3cr3t+/key=with "signs" & <more> of it\'s 49 chars€'
PART = 9  # so many characters of a secret in a row are too many


def pair(secret: str) -> str:
    return base64.b64encode(f"eve:{secret}".encode()).decode()


def as_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def replaced(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(char, char) for char in text)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "URL": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
    "URL in lower case": lambda secret: quote(secret, safe="").replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")
    .replace("%3C", "%3c").replace("%3E", "%3e").replace("%E2%82%AC", "%e2%82%ac"),
    "HTML": html.escape,
    "JSON of Go": lambda secret: replaced(
        json.dumps(secret, ensure_ascii=False), {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"}
    ),
    "JSON of Gson": lambda secret: replaced(
        json.dumps(secret, ensure_ascii=False),
        {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "=": r"\u003d", "'": r"\u0027"},
    ),
    "JSON of .NET": lambda secret: replaced(
        secret,
        {"<": r"\u003C", ">": r"\u003E", "&": r"\u0026", "+": r"\u002B", '"': r"\u0022", "'": r"\u0027", "€": r"\u20AC"},
    ),
    "JSON of PHP": lambda secret: json.dumps(secret).replace("/", r"\/"),
    "JSON in upper case": lambda secret: json.dumps(secret).replace(r"\u20ac", r"\u20AC"),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "HTML of Go": lambda secret: replaced(
        secret, {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "+": "&#43;"}
    ),
    "HTML with decimal numbers": lambda secret: html.escape(secret).replace("&#x27;", "&#39;"),
    "HTML with names": lambda secret: html.escape(secret).replace("&#x27;", "&apos;"),
    "HTML between tags": lambda secret: html.escape(secret, quote=False),
    "path of a URL": quote,
    "URL of JavaScript": lambda secret: quote(secret, safe=";,/?:@&=+$-_.!~*'()#"),
    "component of JavaScript": lambda secret: quote(secret, safe="-_.!~*'()"),
    "URL in a URL": lambda secret: quote(quote(secret, safe=""), safe=""),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "base64 in a URL": lambda secret: quote(base64.b64encode(secret.encode()).decode(), safe=""),
    "basic": pair,
    "login": lambda secret: base64.b64encode(f"\0ev\0{secret}".encode()).decode(),
    "basic without padding": lambda secret: base64.b64encode(f"evil:{secret}:x".encode()).decode().rstrip("="),
}  # fmt: skip


def leaks(text: str, shown: str) -> list[str]:
    """Return the parts of a secret that a text shows."""
    return [part for at in range(len(shown) - PART + 1) if (part := shown[at : at + PART]) in text]


@in_one_test("form", FORMS)
@in_one_test("before", [0, 1, *range(RESPONSE_CHARS - 70, RESPONSE_CHARS + 2, 3)])
def test_excerpt_shows_no_part_of_a_secret(form: str, before: int) -> None:
    """Wherever an excerpt ends, it shows at most a few characters of a secret, whatever form the secret has."""
    shown = FORMS[form](SECRET)
    excerpt = Redactor(SECRET).excerpt("-" * before + shown + " refused")
    assert leaks(excerpt, shown) == []
    assert len(excerpt) <= RESPONSE_CHARS
    assert before > 1 or excerpt.endswith(" refused")


@pytest.mark.parametrize("count", [1, 2, 50, 20_000])
def test_repeated_secret_moves_no_part_of_another_into_the_excerpt(count: int) -> None:
    """Where redaction shortens a text, what follows is redacted too."""
    text = SECRET * count
    excerpt = Redactor(SECRET).excerpt(text)
    assert excerpt == ("[secret]" * count)[:RESPONSE_CHARS]


@in_one_test("kept", range(PART, len(SECRET)))
def test_secret_that_the_server_has_cut_is_redacted(kept: int) -> None:
    """If a server cuts what it returns, the beginning of a secret at the end of the text is redacted."""
    assert leaks(Redaction([SECRET])(f"no such key: {SECRET[:kept]}"), SECRET) == []
    assert leaks(Redactor(SECRET).excerpt(f"no such key: {SECRET[:kept]}"), SECRET) == []


@pytest.mark.parametrize("form", ["plain", "URL", "JSON of PHP", "base64"])
def test_scheme_with_which_a_secret_begins_stays(form: str) -> None:
    """If a secret is a URL, other URLs stay readable, and the beginning of the secret does not."""
    encode = FORMS.get(form, as_base64)
    secret = "https://hooks.example.com/s3cr3t-token"
    redaction = Redaction([secret])
    text = f"see {encode('https://status.example.org/today')} and wait"
    assert redaction.excerpt(text, 500) == text
    for end in range(len("https://") + PART, len(secret) + 1):
        text = redaction.excerpt(f"see {encode(secret[:end])}", 500)
        assert encode("https://hooks.exa")[:22].strip('"') not in text


UNRELATED = [
    f"쟑{number}쟑쟑" for number in range(40)
]  # no text of the next test has a part of one, however it is spelled
SHORT = st.text("gh/€", min_size=4, max_size=14)
SOME = ["plain", "URL", "base64", "basic", "hexadecimal"]
PARTS = st.tuples(st.sampled_from(SOME), st.integers(0, 1), st.sampled_from([60, 9, 7]), st.sampled_from(["", "g"]))


@examples(150)
@given(st.lists(SHORT, min_size=1, max_size=2), st.lists(PARTS, min_size=1, max_size=3), st.integers(1, 99))
def test_many_secrets_are_found_like_few(
    secrets: list[str], parts: list[tuple[str, int, int, str]], limit: int
) -> None:
    """Those that are in no text change nothing: neither about overlaps, short secrets, nor about beginnings."""
    text = "".join(FORMS[form](secrets[at % len(secrets)])[:kept] + more for form, at, kept, more in parts)
    few, many = Redaction(secrets), Redaction([*UNRELATED, *secrets])
    assert many(text) == few(text)
    assert many.excerpt(text, limit) == few.excerpt(text, limit)


def test_text_without_a_secret_is_unchanged() -> None:
    """Short parts of a secret, and texts without one, stay."""
    redact, excerpt = Redaction([SECRET, "abc"]), Redactor(SECRET, "abc").excerpt
    for text in ("abc of 44", "s3cr3t", "", "x" * 600):
        assert redact(text) == text
        assert excerpt(text) == text[:RESPONSE_CHARS]


@in_one_test("status", [400, 503])
@in_one_test("before", [0, 460, 490])
def test_response_of_a_receiver_is_redacted_before_it_is_cut(status: int, before: int) -> None:
    """What is kept of a response shows no part of a credential."""
    body = ("-" * before + SECRET + "!").encode()
    with pytest.raises(DeliveryError) as caught:
        check_response(HttpResponse(status, {}, body, timedelta(0)), Redactor(SECRET))
    assert leaks(str(caught.value), SECRET) == []


@pytest.mark.parametrize(
    "echo",
    [PASSWORD, FORMS["base64"](PASSWORD), FORMS["login"](PASSWORD), FORMS["basic"](PASSWORD), f"{'-' * 489}{PASSWORD}"],
)
def test_mail_server_that_returns_the_login_does_not_reveal_it(echo: str) -> None:
    """A mail server that returns the line with the login puts no password into the history of a delivery."""

    def treat(connection: Any, released: Any) -> None:
        with connection.makefile("rwb") as stream:
            stream.write(f"554 5.7.8 rejected {echo} bye\r\n".encode())
            stream.flush()
            stream.readline()

    with RawEnd(treat) as server:
        options = email_options(server.port, None, tls="none")
        with pytest.raises(PermanentDeliveryError) as caught:
            deliver(email.build(options, receiver="mail"), "email", message())
    assert leaks(str(caught.value), echo.strip("-")) == []


@in_one_test("form", ["plain", "JSON", "basic", "URL"])
@in_one_test("before", [0, 460, 4080])
@in_one_test("is_json", [True, False])
def test_upstream_that_returns_the_key_does_not_reveal_it(form: str, before: int, is_json: bool) -> None:
    """An error of the upstream shows no part of the key, wherever its text is cut."""
    shown = FORMS[form](SECRET)
    text = " " * before + shown
    body = json.dumps({"message": text}) if is_json else text
    with HttpEnd(lambda _: Reply(401, body.encode())) as server:
        connection = ConnectionOptions(server.url, "org", "eve", SECRET, timeout=PATIENT)
        origin = Origin(connection, allowed=[("GET", connection.path("x"))])
        with pytest.raises(AccessDenied) as caught:
            origin.exchange("GET", connection.path("x"))
        origin.close()
    assert leaks(str(caught.value), shown) == []

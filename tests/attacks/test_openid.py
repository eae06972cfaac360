"""No answer and no token of a provider that is forged, stolen, old, or for something else begins a session."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

from actionwatch.base.access import AccessRole, Person
from actionwatch.store import sessions
from actionwatch.store.database import Database
from actionwatch.store.tables import SESSION
from actionwatch.web.attempts import ATTEMPT_SECONDS, MAX_ATTEMPTS, MAX_EXCHANGES_FAILED
from actionwatch.web.console.sign_in import PENDING_COOKIE
from actionwatch.web.openid_provider import AWAY_SECONDS, MAX_EXCHANGES
from actionwatch.web.paths import MAX_GOAL_CHARS
from tests.attacks.test_console import OWN_NAMES
from tests.builders import NOON
from tests.fixtures import database
from tests.integration.notifiers.http_end import Reply
from tests.integration.web.console_kit import Served
from tests.integration.web.openid_end import CLIENT_ID, NEXT, RSA, OpenIdEnd, public
from tests.integration.web.openid_kit import begin, come_back, opened, served, session_of, sign_in
from tests.waiting import all_at_once, wait_until

__all__ = ["database"]
NOW = int(NOON.timestamp())
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"})
SMALL = rsa.generate_private_key(65537, 1024)


def count_sessions(database: Database) -> int:
    """Return how many sessions the store has."""
    with database.read() as connection:
        return len(connection.execute(SESSION.select()).fetchall())


def unsigned(claims: dict[str, Any]) -> str:
    """Make a token without a signature."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(_base64(json.dumps(each).encode()) for each in parts) + "."


def signed_with_the_public_key(claims: dict[str, Any]) -> str:
    """Sign with what everybody knows, as if it were a secret."""
    text = ".".join(_base64(json.dumps(each).encode()) for each in ({"alg": "HS256", "kid": "rsa-1"}, claims))
    return f"{text}.{_base64(hmac.digest(RSA.as_pem(private=False), text.encode(), 'sha256'))}"


def with_other_claims(claims: dict[str, Any]) -> str:
    """Replace the claims of a signed token."""
    head, _, signature = jwt.encode({"alg": "RS256", "kid": "rsa-1"}, claims, RSA).split(".")
    payload = _base64(json.dumps({**claims, "email": "eve@example.com"}).encode())
    return f"{head}.{payload}.{signature}"


def signed_with_a_small_key(claims: dict[str, Any]) -> str:
    """Sign with a key of the provider that can be broken. The library only warns of it."""
    head = {"alg": "RS256", "kid": "small"}
    text = ".".join(_base64(json.dumps(each).encode()) for each in (head, claims))
    return f"{text}.{_base64(SMALL.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def published(key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Return the public half of a key as a JWK."""
    modulus = key.public_key().public_numbers().n
    return {"kty": "RSA", "kid": "small", "e": "AQAB", "n": _base64(modulus.to_bytes(key.key_size // 8))}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def signed(head: dict[str, Any], key: RSAKey = RSA) -> Any:
    """Return a way to sign with this head and key."""
    return lambda claims: jws.serialize_compact(head, json.dumps(claims).encode(), key, [head["alg"]])


SIGNATURES = {
    "none": unsigned,
    "HS256 with the public key": signed_with_the_public_key,
    "other claims": with_other_claims,
    "another key of the same name": signed({"alg": "RS256", "kid": "rsa-1"}, STRANGER),
    "its own key": signed({"alg": "RS256", "jwk": STRANGER.as_dict(private=False)}, STRANGER),
    "a small key": signed_with_a_small_key,
    "an unknown key": signed({"alg": "RS256", "kid": "rsa-9"}),
    "an algorithm that is not of the key": signed({"alg": "PS256", "kid": "ps"}),
    "not a token": lambda claims: "a.b",
    "a list": lambda claims: jws.serialize_compact({"alg": "RS256", "kid": "rsa-1"}, b"[1]", RSA),
    "deep": lambda claims: jws.serialize_compact({"alg": "RS256", "kid": "rsa-1"}, b"[" * 5_000, RSA),
    "empty": lambda claims: "",
    "another alphabet": lambda claims: "\u0661.\u0662.\u0663",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_only_a_key_of_the_provider_signs(database: Database, name: str) -> None:
    """A token that no key of the provider has signed, with an algorithm for this key, begins no session."""
    with OpenIdEnd(sign=SIGNATURES[name]) as end, opened(database, end) as client:
        end.keys = [
            *end.keys,
            published(SMALL),
            {**RSA.as_dict(private=False), "kid": "ps", "alg": "RS256"},
        ]
        answer = sign_in(client, end)
        assert (answer.status_code, "is not accepted" in answer.text) == (403, True)
    assert count_sessions(database) == 0


@pytest.mark.parametrize("curve", ["brainpoolP256r1", "", None, 1, ["P-256"], {}])
def test_a_key_of_an_unknown_curve_signs_nothing(database: Database, curve: Any) -> None:
    """A key of the provider with a curve that nobody knows is passed over, and those beside it still count."""
    with OpenIdEnd(sign=lambda claims: jwt.encode({"alg": "ES256"}, claims, NEXT)) as end:
        with opened(database, end) as client:
            end.keys = [{**public(NEXT)[0], "crv": curve}]
            answer = sign_in(client, end)
            assert (answer.status_code, "the provider has no key for it" in answer.text) == (403, True)
        with opened(database, end) as client:
            end.keys += public(NEXT)
            assert sign_in(client, end).status_code == 303


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://accounts.evil.example"}, "its issuer is not web.openid.issuer"),
        ({"iss": None}, "its issuer is not web.openid.issuer"),
        ({"aud": "another-client"}, "it is for another client"),
        ({"aud": None}, "it is for another client"),
        ({"aud": [CLIENT_ID, "another-client"]}, "was given to another one"),
        ({"azp": "another-client"}, "was given to another one"),
        ({"nonce": "of another sign-in"}, "it is from another sign-in"),
        ({"nonce": None}, "it is from another sign-in"),
        ({"nonce": ["x"]}, "it is from another sign-in"),
        ({"exp": NOW - 61}, "it has expired"),
        ({"exp": float("nan")}, "its times are missing"),
        ({"exp": None}, "its times are missing"),
        ({"exp": True}, "its times are missing"),
        ({"iat": NOW - 601}, "it has expired"),
        ({"iat": NOW + 61}, "it is from the future"),
        ({"nbf": NOW + 61}, "it is from the future"),
        ({"nbf": "soon"}, "(nbf) is not a number"),
        ({"nbf": False}, "(nbf) is not a number"),
        ({"sub": None}, "it names no person"),
        ({"email": None}, "no usable &#39;email&#39;"),
        ({"email": ["sam@example.com"]}, "no usable &#39;email&#39;"),
        ({"email": "sam@example.com,eve"}, "without a comma: choose another web.openid.name_claim"),
        ({"email": "sam@example.com\u202e"}, "is not 1 to 100 printable characters"),
        ({"email_verified": False}, "has not verified this email address"),
        ({"email_verified": None}, "has not verified this email address"),
        ({"email_verified": "false"}, "has not verified this email address"),
        ({"email_verified": 1.5}, "has not verified this email address"),
        ({"email": "eve@example.com"}, "not open to eve@example.com"),
        ({"email": "<script>@example.com"}, "not open to &lt;script&gt;@example.com"),
    ],
)
def test_a_signed_token_must_be_for_this_sign_in(database: Database, claims: dict[str, Any], reason: str) -> None:
    """A token of the provider that is for another client, sign-in or time, or about nobody known, begins no session."""
    with OpenIdEnd(claims=claims) as end, opened(database, end) as client:
        answer = sign_in(client, end)
        assert (answer.status_code, reason in answer.text) == (403, True), answer.text
    assert count_sessions(database) == 0


def test_only_the_browser_that_began_can_finish(database: Database) -> None:
    """An answer in another browser, with another state or without one, is refused before the provider is asked (login CSRF)."""
    with OpenIdEnd() as end, opened(database, end) as client:
        url, browser = begin(client)
        answer = end.authorize(url)
        _, other = begin(client)
        asked_before = len(end.paths())
        for query, headers in (
            (answer, {}),
            (answer, other),
            (answer, {"cookie": f"{PENDING_COOKIE}="}),
            ({**answer, "state": "x"}, browser),
            ({**answer, "state": ""}, browser),
            ({"code": answer["code"]}, browser),
            ({**answer, "state": "\x85"}, browser),
        ):
            refused = come_back(client, query, headers)
            assert (refused.status_code, "this browser did not begin" in refused.text.lower()) == (403, True)
        assert len(end.paths()) == asked_before
        assert come_back(client, answer, browser).status_code == 303


def test_a_code_counts_once(database: Database) -> None:
    """Whoever repeats an answer, also with the cookie of the browser, gets no second session."""
    with OpenIdEnd() as end, opened(database, end) as client:
        url, browser = begin(client)
        answer = end.authorize(url)
        finished = come_back(client, answer, browser)
        assert f'{PENDING_COOKIE}=""' in str(finished.headers.get_list("set-cookie")), "the browser forgets its secret"
        repeated = come_back(client, answer, browser)
        assert (repeated.status_code, "This sign-in has ended" in repeated.text) == (403, True)
        other_url, other = begin(client)
        stolen = {**end.authorize(other_url), "code": end.authorize(url)["code"]}
        assert come_back(client, stolen, other).status_code == 403, "the code of another browser has another verifier"
    assert count_sessions(database) == 1


def test_answers_of_another_provider_are_refused(database: Database) -> None:
    """An answer of another provider is refused (mix-up), and one without a name where the provider always gives it."""
    for metadata in ({}, {"authorization_response_iss_parameter_supported": True}):
        with OpenIdEnd(metadata=metadata) as end, opened(database, end) as client:
            url, browser = begin(client)
            answer = end.authorize(url)
            for query in ({**answer, "iss": "https://accounts.evil.example"}, *([answer] if metadata else [])):
                assert "The response is from another provider" in come_back(client, query, browser).text
            assert "token" not in end.paths()
            assert come_back(client, {**answer, "iss": end.issuer}, browser).status_code == 303


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("issuer", "https://accounts.evil.example", "it has another issuer"),
        ("token_endpoint", "http://accounts.evil.example/token", "its token_endpoint must be https"),
        ("jwks_uri", "file:///etc/passwd", "its jwks_uri must be an https"),
        ("authorization_endpoint", "javascript:alert(1)", "its authorization_endpoint must be an https"),
        ("authorization_endpoint", ["https://x.example"], "its authorization_endpoint must be an https"),
    ],
)
def test_a_document_of_discovery_that_cannot_be_right_is_refused(
    database: Database, name: str, value: Any, reason: str
) -> None:
    """Secrets and browsers go nowhere without TLS, and to no provider of another name."""
    with OpenIdEnd(metadata={name: value}) as end, opened(database, end) as client:
        answer = client.get("/sign-in/openid")
        assert (answer.status_code, reason in answer.text) == (503, True), answer.text


@pytest.mark.parametrize(
    "goal",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/x" * MAX_GOAL_CHARS, ""],
)
def test_nobody_is_led_elsewhere(database: Database, goal: str) -> None:
    """After signing in, the browser goes to a page of the console only; also where the cookie holds something else."""
    with OpenIdEnd() as end, opened(database, end) as client:
        assert sign_in(client, end, goal).headers["location"] == "/sign-in?next=%2F&done=1"
        url, browser = begin(client)
        secret = browser["cookie"].partition(".")[0]
        answer = come_back(client, end.authorize(url), {"cookie": f"{secret}.{goal}".encode().decode("latin-1")[:3000]})
        assert answer.headers["location"].startswith("/sign-in?next=%2F")
        assert "evil" not in answer.headers["location"]


def test_a_session_is_new(database: Database) -> None:
    """A cookie that somebody planted before is no session afterwards (session fixation), and the cookies are kept to us."""
    with OpenIdEnd() as end, opened(database, end) as client:
        url, browser = begin(client)
        planted = "__Host-actionwatch=provider.planted"
        answer = come_back(client, end.authorize(url), {"cookie": f"{planted}; {browser['cookie']}"})
        session = session_of(answer)
        assert session["cookie"] != planted
        assert client.get("/", headers={"cookie": planted}).status_code == 303
        assert session_of(sign_in(client, end)) != session
        for cookie in answer.headers.get_list("set-cookie"):
            attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
            assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes


def test_a_provider_session_is_no_other_session(database: Database) -> None:
    """Without the provider in the configuration, its sessions open nothing, and count as none of the shared token."""
    with OpenIdEnd() as end:
        made = served(database, end, readers=["kim@example.com"])
        with made.open() as client:
            session = session_of(sign_in(client, end, email="kim@example.com"))
            assert "kim@example.com, reader" in client.get("/", headers=session).text
        with Served(database, open_to=None).open() as client:
            assert client.get("/", headers=session).status_code == 303
    with database.read() as connection:
        (row,) = connection.execute(SESSION.select()).fetchall()
        found = sessions.read(connection, row.digest, NOON)
    assert found == sessions.Session(None, Person("kim@example.com", AccessRole.READER))


def test_strangers_block_nobody(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers that cost the provider nothing, also from another site, count as no attempt and write no log: with a plain proxy
    before the console, strangers and people have the same address.
    """
    with OpenIdEnd() as end, opened(database, end) as client:
        _, browser = begin(client)
        state = parse_qs(urlsplit(begin(client)[0]).query)["state"][0]
        asked = len(end.paths())
        for _ in range(MAX_ATTEMPTS):
            assert come_back(client, {}, {}).status_code == 403
            assert come_back(client, {"code": "x", "state": state}, browser).status_code == 403
            url, other = begin(client)
            refused = {"error": "access_denied", "state": end.authorize(url)["state"]}
            assert "(access_denied)" in come_back(client, refused, other).text
        assert len(end.paths()) == asked
        assert "sign_in_refused" not in capsys.readouterr().out
        assert sign_in(client, end).status_code == 303


@pytest.mark.parametrize("name", OWN_NAMES)
def test_nobody_has_our_name_by_a_provider(database: Database, name: str) -> None:
    """The provider names nobody as the service itself: no session begins."""
    values = {"name_claim": "preferred_username", "readers": ["*"]}
    with OpenIdEnd(claims={"preferred_username": name}) as end, opened(database, end, **values) as client:
        refused = sign_in(client, end)
        assert (refused.status_code, "is the name of this service" in refused.text) == (403, True)
    assert count_sessions(database) == 0


def test_each_sign_in_counts_once(database: Database) -> None:
    """A sign-in that the provider has answered is over, whatever it answered; it is not asked again. Others can begin."""
    with OpenIdEnd(claims={"nonce": "x"}) as end, opened(database, end) as client:
        for _ in range(MAX_ATTEMPTS + 1):  # from one address, as behind a plain proxy
            url, browser = begin(client)
            assert come_back(client, end.authorize(url), browser).status_code == 403
        asked = len(end.paths())
        again = come_back(client, end.authorize(url), browser)
        assert (again.status_code, "This sign-in has ended" in again.text) == (403, True)
        assert len(end.paths()) == asked
        end.claims = {}
        assert sign_in(client, end).status_code == 303


def test_sign_ins_that_a_stranger_makes_up_are_limited(database: Database) -> None:
    """For cookies and codes that a stranger makes up, the provider is not asked without end: the address waits."""
    with OpenIdEnd() as end:
        made = served(database, end)
        with made.open() as client:
            assert sign_in(client, end).status_code == 303
            asked = len(end.paths())
            for number in range(MAX_EXCHANGES_FAILED + 5):
                state = made_up_state(secret := f"made-up-{number}")
                cookie = {"cookie": f"{PENDING_COOKIE}={secret}."}
                answer = come_back(client, {"state": state, "code": "made-up"}, cookie)
                assert answer.status_code == (403 if number < MAX_EXCHANGES_FAILED else 429)
            assert len(end.paths()) == asked + MAX_EXCHANGES_FAILED
            made.seconds += ATTEMPT_SECONDS
            assert sign_in(client, end).status_code == 303


def made_up_state(secret: str) -> str:
    """Make the state that belongs to the secret of a browser."""
    digest = hmac.new(secret.encode(), b"state", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_sign_in_goes_on_after_an_outage_of_the_provider(database: Database) -> None:
    """A browser may come back again with the same sign-in if the provider was away."""
    with OpenIdEnd() as end, opened(database, end) as client:
        url, browser = begin(client)
        answer = end.authorize(url)
        end.fail = lambda request: Reply(503) if request.path.endswith("token") else None
        assert come_back(client, answer, browser).status_code == 503
        end.fail = lambda request: None
        assert come_back(client, answer, browser).status_code == 303


@pytest.mark.parametrize("reply", [Reply(500), Reply(fault="reset"), Reply(200, b'{"issuer": "another"}')])
def test_a_provider_that_is_away_is_not_asked_for_each_stranger(
    database: Database, reply: Reply, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a provider fails, it is asked once in some seconds, and the log says it once, however many strangers begin."""
    with OpenIdEnd(fail=lambda request: reply) as end:
        made = served(database, end)
        with made.open() as client:
            texts = {client.get("/sign-in/openid").text for _ in range(5)}
            assert (len(texts), len(end.paths())) == (1, 1), "all get the same reason"
            made.seconds += AWAY_SECONDS
            assert client.get("/sign-in/openid").status_code == 503
            end.fail = lambda request: None
            assert client.get("/sign-in/openid").status_code == 503
            assert (len(end.paths()), capsys.readouterr().out.count("openid_provider_")) == (2, 2)
            made.seconds += AWAY_SECONDS
            assert sign_in(client, end).status_code == 303


def test_codes_of_strangers_keep_no_log_busy(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """While the provider fails at codes, the log says so once in some seconds, and others can still sign in."""
    with OpenIdEnd() as end, opened(database, end) as client:
        url, browser = begin(client)
        end.fail = lambda request: Reply(500) if request.path.endswith("token") else None
        for _ in range(5):
            assert come_back(client, {**end.authorize(url), "code": "x"}, browser).status_code == 503
        log = capsys.readouterr().out
        assert (log.count("openid_provider_failed"), log.count("sign_in_refused")) == (1, 0)
        end.fail = lambda request: None
        assert sign_in(client, end).status_code == 303


def test_a_provider_that_hangs_holds_few_threads(database: Database) -> None:
    """While a few sign-ins wait for the provider, others get an answer at once, and pages too."""
    with OpenIdEnd() as end, opened(database, end, timeout="30s") as client:
        end.fail = lambda request: Reply(fault="hang")

        answers: list[int] = []

        def ask() -> None:
            answers.append(client.get("/sign-in/openid").status_code)

        def ask_later() -> None:
            try:
                wait_until(lambda: len(end.end.requests) == MAX_EXCHANGES, "the sign-ins that wait")
                ask()
                answers.append(client.get("/sign-in").status_code)
            finally:
                end.end.released.set()

        all_at_once(*[ask] * MAX_EXCHANGES, ask_later)
        assert answers == [503, 200, *[503] * MAX_EXCHANGES]
        assert len(end.end.requests) == MAX_EXCHANGES


def test_sign_in_ends_the_session_that_the_browser_had(database: Database) -> None:
    """Signing out afterwards leaves no session of this browser behind."""
    with OpenIdEnd() as end, opened(database, end) as client:
        first = session_of(sign_in(client, end))
        url, browser = begin(client)
        second = session_of(
            come_back(client, end.authorize(url), {"cookie": f"{first['cookie']}; {browser['cookie']}"})
        )
        client.post("/sign-out", headers=second)
        assert client.get("/", headers=first).status_code == 303
    assert count_sessions(database) == 0


@pytest.mark.parametrize(
    "head", ['["alg"]', '{"alg": "RS256", "crit": ["b64"], "b64": true}', '{"alg": "RS256", "zip": "DEF"}']
)
def test_head_of_a_token_that_cannot_be_read_is_refused(database: Database, head: str) -> None:
    """It is a refused token with its reason, and not a failed page or a wrong signature."""
    head = _base64(head.encode())
    with OpenIdEnd(sign=lambda claims: f"{head}.e30.AA") as end, opened(database, end) as client:
        answer = sign_in(client, end)
    assert (answer.status_code, "signature" in answer.text) == (403, False)

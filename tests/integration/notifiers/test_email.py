"""The promises of the email notifier."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Rendered
from actionwatch.notifiers import email
from tests.cases import in_one_test
from tests.examples import examples
from tests.integration.notifiers.ends import MAIL_HEADERS, deliver, email_options, options
from tests.integration.notifiers.smtp_end import RawEnd, SmtpEnd, part, read_mail
from tests.unit.render.messages import AT, HOSTILE, message, record


@pytest.fixture
def server(server_context: ssl.SSLContext) -> Iterator[SmtpEnd]:
    """A mail server with STARTTLS and a login."""
    with SmtpEnd(server_context, is_auth_required=True) as end:
        yield end


def build(server: SmtpEnd, ca_file: Path | None, **given: Any) -> email.EmailNotifier:
    """Make a notifier for a server."""
    return email.build(email_options(server.port, ca_file, **given), receiver="soc-mail")


def test_mail_shows_who_what_and_when_as_text_and_html(server: SmtpEnd, ca_file: Path) -> None:
    """A mail shows user, action and time, with and without HTML."""
    records = [record(n) for n in reversed(range(50))]
    deliver(build(server, ca_file), "email", message(records=records, count=60))
    [mail] = server.mails
    assert mail["Subject"] == "[critical] Cluster payments-prod deleted"
    assert mail["From"] == "Alerts <actionwatch@example.com>"
    assert mail["To"] == "soc@example.com"
    assert mail["Date"].datetime == AT.replace(microsecond=0)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["List-Unsubscribe"] is None
    assert mail.get_content_type() == "multipart/alternative"
    assert [item.get_content_type() for item in mail.iter_parts()] == ["text/plain", "text/html"]
    for kind in ("plain", "html"):
        text = part(mail, kind)
        for needed in ("eve@example.com", "Restore the newest backup.", "DELETE_CLUSTER", "and 50 more", "rule-1"):
            assert needed in text


def test_mails_of_an_alert_form_a_thread(server: SmtpEnd, ca_file: Path) -> None:
    """A mail program shows the mails of an alert as a thread."""
    notifier = build(server, ca_file)
    opened = deliver(notifier, "email", message(id="m1"))
    updated = deliver(notifier, "email", message("alert.updated", id="m2"), opened.reference)
    deliver(notifier, "email", message("alert.resolved", id="m3"))
    head, *later = server.mails
    assert head["Message-ID"] == opened.reference
    assert head["References"] is None
    assert updated.reference is None
    assert {mail["In-Reply-To"] for mail in later} == {mail["References"] for mail in later} == {opened.reference}
    assert len({mail["Message-ID"] for mail in server.mails}) == 3


def test_subject_of_a_thread_changes_only_by_re(server: SmtpEnd, ca_file: Path) -> None:
    """The subject does not change with count or state, because Gmail would split the thread."""
    notifier = build(server, ca_file)
    for event, count in (("alert.opened", 1), ("alert.updated", 7), ("alert.resolved", 9)):
        deliver(notifier, "email", message(event, id=event, count=count))
    head, *later = [str(mail["Subject"]) for mail in server.mails]
    assert later == [f"Re: {head}"] * 2
    assert "RESOLVED" in part(server.mails[-1], "plain").splitlines()[0]


def test_partly_refused_mail_is_sent_and_names_the_refusals(server: SmtpEnd, ca_file: Path) -> None:
    """If some recipients refuse, they are named, and the others do not get the mail again."""
    server.inbox.rcpt = {"b@example.com": "550 no such user", "c@example.com": "451 busy"}
    to = ["a@example.com", "b@example.com", "C <c@example.com>"]
    receipt = deliver(build(server, ca_file, to=to), "email", message())
    assert receipt.note == "refused for b@example.com (550 no such user); c@example.com (451 busy)"
    assert [recipients for recipients, _ in server.inbox.mails] == [["a@example.com"]]


def test_refusal_is_transient_if_one_recipient_may_recover(server: SmtpEnd, ca_file: Path) -> None:
    """If all recipients refuse and one of them may recover, the error is temporary."""
    server.inbox.rcpt = {"a@example.com": "550 no such user", "b@example.com": "451 greylisted"}
    notifier = build(server, ca_file, to=["a@example.com", "b@example.com"])
    with pytest.raises(TransientDeliveryError, match="every recipient"):
        deliver(notifier, "email", message())
    server.inbox.rcpt["b@example.com"] = "550 no such user"
    with pytest.raises(PermanentDeliveryError, match="every recipient"):
        deliver(notifier, "email", message())


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_unknown_authority_is_refused(
    server_context: ssl.SSLContext, ca_file: Path, other_ca_file: Path, tls: str
) -> None:
    """A server with a certificate of an unknown authority does not get the password."""
    with SmtpEnd(server_context, is_implicit=tls == "implicit") as server:
        for wrong in (None, other_ca_file):
            notifier = build(server, wrong, tls=tls, username=None, password=None)
            with pytest.raises(
                PermanentDeliveryError, match=r"certificate of 127\.0\.0\.1 cannot be verified.*ca_file"
            ):
                deliver(notifier, "email", message())
        deliver(build(server, ca_file, tls=tls, username=None, password=None), "email", message())
        assert len(server.mails) == 1


def test_certificate_for_another_host_is_refused(wrong_name_context: ssl.SSLContext, ca_file: Path) -> None:
    """A certificate of a known authority for another host is refused."""
    with SmtpEnd(wrong_name_context) as server:
        with pytest.raises(PermanentDeliveryError, match="cannot be verified"):
            deliver(build(server, ca_file, username=None, password=None), "email", message())
        assert not server.mails


def test_server_without_starttls_gets_nothing(ca_file: Path) -> None:
    """A server that does not offer STARTTLS gets neither the mail nor the password."""
    with SmtpEnd() as server:
        with pytest.raises(PermanentDeliveryError, match="STARTTLS"):
            deliver(build(server, ca_file), "email", message())
        assert not server.mails


def test_wrong_password_is_permanent(server: SmtpEnd, ca_file: Path) -> None:
    """A wrong password is a permanent error with a clear text."""
    with pytest.raises(PermanentDeliveryError, match="login: check username and password"):
        deliver(build(server, ca_file, password="wrong"), "email", message())


def test_connection_without_tls_only_to_loopback() -> None:
    """Without TLS, mail is sent only to this machine."""
    with SmtpEnd() as server:
        deliver(build(server, None, tls="none", username=None, password=None), "email", message())
        assert len(server.mails) == 1


def test_failure_after_acceptance_does_not_repeat_the_mail() -> None:
    """A failure after the server accepted the mail does not repeat it."""

    def treat(connection: Any, released: Any) -> None:
        stream = connection.makefile("rwb")
        stream.write(b"220 hi\r\n")
        stream.flush()
        for line in stream:
            if line.upper().startswith(b"DATA"):
                stream.write(b"354 go\r\n")
                stream.flush()
                while stream.readline() != b".\r\n":
                    pass
                stream.write(b"250 taken\r\n")
                stream.flush()
                break
            stream.write(b"250 ok\r\n")
            stream.flush()
        stream.close()

    with RawEnd(treat) as server:
        made = email_options(server.port, None, tls="none", username=None, password=None)
        assert deliver(email.build(made, receiver="mail"), "email", message()).note is None


def test_slow_conversation_times_out() -> None:
    """A server that responds just in time again and again times out within the lease."""

    def treat(connection: Any, released: Any) -> None:
        stream = connection.makefile("rwb")
        try:
            stream.write(b"220 hi\r\n")
            stream.flush()
            for _ in stream:
                released.wait(0.2)
                stream.write(b"250 ok\r\n")
                stream.flush()
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                stream.close()

    with RawEnd(treat) as server:
        to = [f"{number}@example.com" for number in range(50)]
        made = email_options(server.port, None, tls="none", username=None, password=None, to=to, timeout="0.3s")
        with pytest.raises(TransientDeliveryError, match="timeout"):
            deliver(email.build(made, receiver="mail"), "email", message())


@examples(75)
@given(st.text(st.characters(), max_size=400))
def test_any_subject_is_one_safe_header(text: str) -> None:
    """Any text becomes one header, with lines that SMTP accepts."""
    made = email_options(25, None, tls="none", username=None, password=None, to=["soc@example.com"])
    mail = email.compose(
        message(id=text),
        Rendered({"email.subject": text, "email.txt": text, "email.html": text}),
        text,
        "receiver",
        *email.addresses_of(made),
    )
    content = mail.as_bytes()
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    read = read_mail(content)
    assert set(read.keys()) <= MAIL_HEADERS
    assert len(read.keys()) == len(set(read.keys()))
    assert len(str(read["Subject"]).splitlines()) <= 1


@in_one_test("name", HOSTILE)
def test_any_id_gives_a_valid_message_id(name: str) -> None:
    """Any alert id gives a valid Message-ID."""
    made = email_options(25, None, tls="none", username=None, password=None)
    text = HOSTILE[name][:5_000]
    mail = email.compose(
        message("alert.updated", id=text, title=text),
        Rendered(),
        f"<{text}@x>",
        text,
        *email.addresses_of(made),
    )
    assert set(read_mail(mail.as_bytes()).keys()) <= MAIL_HEADERS


@in_one_test(
    ("given", "fault"),
    [
        ({"tls": "none", "host": "smtp.example.com"}, "only for a server on this machine"),
        ({"password": None}, "require each other"),
        ({"username": None}, "require each other"),
        ({"password_file": __file__}, "only one of"),
        ({"to": []}, "at least 1"),
        ({"to": ["no address"]}, "not an email address"),
        ({"to": ["a@example.com, b@example.com"]}, "not an email address"),
        ({"to": ["a@example.com\r\nBcc: x@example.com"]}, "control characters"),
        ({"to": ["jürgen@example.com"]}, "ASCII"),
        ({"from": "nobody"}, "not an email address"),
        ({"host": "a b"}, "match pattern"),
        ({"port": 0}, "greater than"),
        ({"digest": {"at": "0 8 * *"}}, "not a crontab line"),
        ({"digest": {"at": "0 8 * * mon", "location": "Nowhere"}}, "not a known time zone"),
    ],
)
def test_invalid_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """Invalid options are refused when the configuration is loaded."""
    with pytest.raises(ValidationError, match=fault):
        email_options(given.pop("port", 587), None, **given)


def test_default_port_depends_on_tls() -> None:
    """`tls: implicit` without a port uses 465 and not the port of STARTTLS."""
    given = {"host": "smtp.example.com", "from": "a@example.com", "to": ["b@example.com", "b@example.com"]}
    assert options(email.Options, **given).to == ["b@example.com"]
    assert email.build(options(email.Options, **given), receiver="x")._port == 587
    assert email.build(options(email.Options, **given, tls="implicit"), receiver="x")._port == 465

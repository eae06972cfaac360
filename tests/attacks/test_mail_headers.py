"""Audit text in the subject of a mail. Some versions of Python decode such a text and write its line ends (CVE-2024-6923)."""

from __future__ import annotations

import email.header
import re

import pytest

from actionwatch.base.errors import PermanentDeliveryError
from actionwatch.base.model import Message, Rendered
from actionwatch.notifiers.email import addresses_of, compose, serialize
from tests.cases import in_one_test
from tests.integration.notifiers.ends import RENDERER, email_options
from tests.integration.notifiers.smtp_end import read_mail
from tests.unit.render.messages import message

MEANT = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "X-Actionwatch-Message",
    "MIME-Version",
    "Content-Type",
]
FORGED = "=?utf-8?q?eve=0D=0AX-Forged=3A_1=0D=0A=0D=0Aforged_body?="
ENCODED = {
    "quoted": FORGED,
    "with spaces": "=?utf-8?q?eve=0D=0AX-Forged: 1=0D=0A=0D=0Aforged body?=",
    "base64": "=?UTF-8?B?ZXZlDQpYLUZvcmdlZDogMQ0KDQpmb3JnZWQ=?=",
    "line feed": "=?us-ascii?Q?eve=0AX-Forged=3A_1?=",
    "with a language": "=?utf-8*en?q?eve=0D=0AX-Forged=3A_1?=",
    "unknown charset": "=?x-none?q?eve=0D=0AX-Forged=3A_1?=",
    "two": f"{FORGED} {FORGED}",
    "glued": f"a{FORGED}b{FORGED}",
    "nested": f"=?utf-8?q?{FORGED}?=",
    "doubled signs": f"={FORGED[:2]}?utf-8?q?eve=0D=0AX-Forged=3A_1?=",
    "beside letters that need encoding": f"Jürgen {FORGED} 日本",
    "split by a control character": FORGED.replace("=?", "=\x00?"),
    "split by an invisible character": FORGED.replace("=?", "=\u200b?"),
    "split by a line end": FORGED.replace("=?", "=\r\n?"),
    "at the end of a long text": "x" * 70 + " " + FORGED,
    "where the subject is cut": "x" * 100 + FORGED * 9,
    "with text in the other direction": "=?utf-8?b?4oCuZ25wLmV4ZQ==?=",
    "comment": f"({FORGED})",
    "quoted string": f'"{FORGED}"',
}


def written(given: Message, subject: str | None = None, reference: str | None = None) -> bytes:
    """Return the bytes of the mail of a message, with the subject of its template or with this one."""
    made = email_options(25, None, tls="none", username=None, password=None)
    rendered, failures = RENDERER.render(("email.subject", "email.txt", "email.html"), given)
    assert failures == []
    texts = rendered.texts if subject is None else {**rendered.texts, "email.subject": subject}
    return serialize(compose(given, Rendered(texts), reference, "soc", *addresses_of(made)))


def header_names(content: bytes) -> list[str]:
    """Return the names of the headers as a program that knows nothing of MIME reads them, any line end included."""
    head = re.split(rb"\r\n\r\n|\n\n|\r\r", content, maxsplit=1)[0]
    lines = re.split(rb"\r\n|\r|\n", head)
    return [line.partition(b":")[0].decode() for line in lines if not line.startswith((b" ", b"\t"))]


@in_one_test("name", ENCODED)
@in_one_test("event", ["alert.opened", "alert.resolved"])
@in_one_test("is_whole_subject", [False, True])
def test_encoded_word_forges_no_header_and_no_body(name: str, event: str, is_whole_subject: bool) -> None:
    """The header block holds exactly the headers of actionwatch, and the subject shows the encoded word as it was written."""
    text = ENCODED[name]
    content = written(message(event, title=text), text if is_whole_subject else None)
    is_follow_up = event == "alert.resolved"
    assert sorted(header_names(content)) == sorted(
        header for header in MEANT if is_follow_up or header not in ("In-Reply-To", "References")
    )
    subject = str(read_mail(content)["Subject"])
    assert "X-Forged: 1" not in subject or "X-Forged: 1" in text
    assert not re.search("[\r\n\u202e]", subject)
    shown = "".join(
        part.decode(charset or "ascii") if isinstance(part, bytes) else part
        for part, charset in email.header.decode_header(subject)
    )
    assert shown == subject  # decoding again, as some programs do, changes nothing


def test_encoded_words_in_ids_and_references_forge_nothing() -> None:
    """An id of a message and a stored reference forge no header either."""
    given = message("alert.updated", id=FORGED)
    assert sorted(header_names(written(given, reference=f"<{FORGED}>"))) == sorted(MEANT)


def test_mail_with_other_headers_than_composed_is_not_sent() -> None:
    """If a version of Python writes other headers than those of the mail, the mail is refused."""
    made = email_options(25, None, tls="none", username=None, password=None)
    mail = compose(message(), Rendered(), None, "soc", *addresses_of(made))
    mail._headers.append(("X-Note", "a\r\nX-Forged: 1"))  # type: ignore[attr-defined]
    with pytest.raises(PermanentDeliveryError, match="headers"):
        serialize(mail)

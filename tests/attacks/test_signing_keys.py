"""Signing keys that can be guessed."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from actionwatch.notifiers import webhook
from tests.cases import in_one_test


@in_one_test("size", [0, 1, 3, 16, 23])
@in_one_test("prefix", ["", "whsec_"])
@in_one_test("is_list", [False, True])
def test_short_signing_key_is_refused(size: int, prefix: str, is_list: bool) -> None:
    """A key of fewer than 24 bytes is refused in each form, alone and as the second of two."""
    short, long = (prefix + base64.b64encode(b"k" * length).decode() for length in (size, 24))
    given = [long, short] if is_list else short
    with pytest.raises(ValidationError, match=r"at least 24 bytes|base64|empty"):
        webhook.Options.model_validate({"url": "https://x.example", "signing_key": given})
    webhook.Options.model_validate({"url": "https://x.example", "signing_key": [long, long] if is_list else long})

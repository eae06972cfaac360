"""The notes of `check` about keys that do not fit each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionwatch.service import checking, configuration

CONFIG = """
sources:
  - {{name: acme, organisation_id: 11111111-1111-4111-8111-111111111111, username: bob, api_key: key}}
receivers:
  - name: hook
    webhook: {{url: "http://127.0.0.1:9/"}}
    {keys}
"""


@pytest.mark.parametrize(
    ("keys", "note"),
    [
        ("rate: 10/m\n    storm: {above: 30, per: 1m}", "allows 10 messages in 1m"),
        ("rate: 10/m\n    storm: {above: 10, per: 1m}", None),
        ("rate: 1/h\n    storm: {above: 1, per: 1m}", "allows 0 messages in 1m"),
        ("rate: 10/m", None),  # without storms
        ("storm: {above: 30, per: 1m}", None),  # without a rate
    ],
)
def test_rate_that_never_reaches_the_limit_of_storms(tmp_path: Path, keys: str, note: str | None) -> None:
    """`check` prints a note at a receiver whose rate allows fewer messages than a storm lets through."""
    config = tmp_path / "actionwatch.yaml"
    (tmp_path / "rules").mkdir()
    config.write_text(CONFIG.format(keys=keys))
    notes = [
        each for each in checking.check(configuration.read_settings(config), config).notes if "the rate of" in each.what
    ]
    assert [(each.line, note is not None and note in each.what) for each in notes] == ([(5, True)] if note else [])

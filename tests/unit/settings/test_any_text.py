"""Loading any file ends in `Settings` or in `ConfigError`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from actionwatch.settings.keys import (
    Log,
    ReceiverOptions,
    Retention,
    RetryPolicy,
    RouteOptions,
    Settings,
    Source,
    Store,
)
from actionwatch.settings.web_keys import Web
from tests.examples import examples
from tests.unit.settings.kit import SOURCE, ChatOptions, faults

KEYS = sorted({
    field.alias or name
    for model in (Settings, Source, Store, Retention, ReceiverOptions, RetryPolicy, RouteOptions, Web, Log, ChatOptions)
    for name, field in model.model_fields.items()
} | {"chat", "screen", "unknown"})  # fmt: skip
WORDS = ["now", "1s", "15m", "${A}", "${B}", "${", "rules", "sqlite:///x.db", "a=b", 'a=~"(', "1/s", "[::1]:80", "high", "~",
         "true", "https://x", "http://[", "2026-11-25T09:00:00Z", "0001-01-01T00:00:00Z", "\0", "/", "a"]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.sampled_from(WORDS), st.text(max_size=8)
)
TREES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
        | st.dictionaries(SCALARS.filter(lambda key: key == key), inner, max_size=2)
    ),
    max_leaves=40,
)
FUZZ = examples(75)


def _try(text: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        faults(text, Path(folder), {"A": "x"})


@given(st.dictionaries(st.sampled_from([f for f in Settings.model_fields]), TREES))  # noqa: C416
@FUZZ
def test_any_values_give_settings_or_an_error(tree: dict[str, Any]) -> None:
    """Known keys with arbitrary values give settings or a ConfigError."""
    _try(yaml.safe_dump(tree, allow_unicode=True))


@given(st.text() | st.binary())
@example("%YAML 1.1\n---\na: 1e3")
@example("a: &x 1\nb: &x 2")
@example("!!bool x")
@example("a: 0x_")
@example(f"web: {{listen: 0x{'f' * 5000}}}")
@FUZZ
def test_any_text_gives_settings_or_an_error(text: str | bytes) -> None:
    """Arbitrary text and bytes give settings or a ConfigError."""
    _try(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))


@given(st.data())
@FUZZ
def test_any_change_of_a_valid_file_gives_settings_or_an_error(data: st.DataObject) -> None:
    """A valid file with a replaced part gives settings or a ConfigError."""
    good = (
        SOURCE + "receivers:\n- {name: a, chat: {token: t}}\nroute:\n  routes: [{matchers: ['a=\"b\"'], receiver: a}]\n"
    )
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 12)))
    piece = data.draw(st.text("{}[]:,-#&*!|>'\"%@` \n\tab01$~=<?", max_size=6))
    _try((good[:start] + piece + good[end:]).encode())

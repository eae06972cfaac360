"""The types of the configuration: durations, secrets, paths and URLs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from actionwatch.base.durations import parse_duration, spell_duration
from actionwatch.text.options import (
    ConfigPath,
    Duration,
    Options,
    PositiveDuration,
    Secret,
    SecretFile,
    check_url,
    is_loopback,
    refuse_both,
    require_one,
    secret,
)
from tests.cases import in_one_test


class Some(Options):
    """One key of each kind."""

    span: Duration = timedelta(0)
    wait: PositiveDuration = timedelta(1)
    path: ConfigPath | None = None
    token: Secret | None = None
    token_file: SecretFile | None = None


def _make(folder: Path = Path("/nowhere"), **keys: Any) -> Some:
    return Some.model_validate(keys, context={"folder": folder})


def _reason(folder: Path = Path("/nowhere"), **keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        _make(folder, **keys)
    return str(caught.value.errors()[0]["msg"]).removeprefix("Value error, ")


@in_one_test(
    ("text", "seconds"),
    [("30s", 30), ("15m", 900), ("26h", 93_600), ("7d", 604_800), ("2w", 1_209_600), ("1h30m", 5400), ("0s", 0),
     ("1.5h", 5400), ("0.25s", 0.25), (" 1s ", 1), ("1d1d", 172_800), ("36525d", 3_155_760_000)],
)  # fmt: skip
def test_duration_is_a_sequence_of_numbers_with_units(text: str, seconds: float) -> None:
    """A duration is a sequence of numbers with units."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@in_one_test(
    "text",
    ["", "5", 5, 5.0, None, True, "s", "1 s", "-1s", "+1s", "1S", "1ms", "1y", "1e3s", ".5s", "1.s", "1s 2m", "٣s", "1s\n2s",
     ["1s"], {}, "inf", "nan"],
)  # fmt: skip
def test_invalid_duration_is_refused(text: object) -> None:
    """A number without a unit, and other ambiguous values, are refused with an example."""
    with pytest.raises(ValueError, match="not a duration: write a number with its unit, such as 30s, 15m, 26h or 7d"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36526d", "9" * 5000 + "d", "36525d1s"])
def test_durations_have_an_end(text: str) -> None:
    """A duration that is too long for datetime arithmetic is refused."""
    with pytest.raises(ValueError, match="longer than a century"):
        parse_duration(text)


def test_zero_is_not_a_positive_duration() -> None:
    """Zero is refused, and so is what rounds to zero."""
    assert _make(span="0s").span == timedelta(0)
    assert _reason(wait="0s") == _reason(wait="0.0000001s") == "must be longer than 0s"


@in_one_test(
    ("span", "text"),
    [(0, "0s"), (3.5, "3.5s"), (59.9, "59.9s"), (60, "1m"), (90, "1m30s"), (5400, "1h30m"), (93_600, "1d2h"),
     (93_661, "1d2h"), (-90, "-1m30s"), (3601, "1h1s")],
)  # fmt: skip
def test_duration_is_shown_with_two_units(span: float, text: str) -> None:
    """A duration is shown with its two largest units."""
    assert spell_duration(timedelta(seconds=span)) == text


@given(st.integers(1, 59), st.sampled_from("smhdw"))
def test_a_shown_duration_can_be_parsed(number: int, unit: str) -> None:
    """A duration of one unit can be parsed again."""
    span = parse_duration(f"{number}{unit}")
    assert parse_duration(spell_duration(span)) == span


def test_secret_is_not_shown(tmp_path: Path) -> None:
    """The secret is the one that is set, and `repr` shows neither."""
    (tmp_path / "t").write_text(" s3cret \r\nnext\n")
    made = _make(tmp_path, token_file="t")
    assert secret(made.token, made.token_file) == "s3cret"
    assert secret(SecretStr("a"), None) == "a"
    assert secret(None, None) is None
    assert "s3cret" not in repr(made)
    assert "s3cret" not in str(made)


def test_invalid_secret_is_refused_without_its_content(tmp_path: Path) -> None:
    """The reason names the file and never its content."""
    assert _reason(token="") == _reason(token="a\nb") == "a secret must not be empty or contain control characters"
    assert _reason(tmp_path, token_file=5) == "must be the path of a file"
    assert _reason(tmp_path, token_file="t") == (
        f"cannot read the secret file {tmp_path}/t (No such file or directory): mount it, or correct the path"
    )
    assert "Is a directory" in _reason(tmp_path, token_file=".")
    (tmp_path / "t").write_bytes(b"\n")
    assert "has an empty first line: put the secret there" in _reason(tmp_path, token_file="t")
    (tmp_path / "t").write_bytes(b"\xff")
    assert "not UTF-8 text" in _reason(tmp_path, token_file="t")
    (tmp_path / "t").write_bytes(b"x" * 70_000)
    assert "(larger than 65536 bytes)" in _reason(tmp_path, token_file="t")


def test_an_endless_secret_file() -> None:
    """A device is not read."""
    assert "(a device, not a regular file)" in _reason(token_file="/dev/zero")


def test_paths_are_relative_to_the_configuration() -> None:
    """Relative paths are relative to the folder of the configuration."""
    assert _make(Path("/srv"), path="a/b").path == Path("/srv/a/b")
    assert _make(Path("/srv"), path="/a").path == Path("/a")
    assert _make(Path("/srv"), path="~/a").path == Path.home() / "a"
    assert _reason(path="~nobody-of-that-name/a") == "this home folder does not exist: write the path without ~"
    assert _reason(path="a\0b") == _reason(token_file="a\0b") == "a path must not contain a NUL character: remove it"


def test_unknown_keys_and_changes_are_refused() -> None:
    """Options refuse unknown keys and are immutable."""
    with pytest.raises(ValidationError, match="Extra inputs"):
        _make(tokn="x")
    with pytest.raises(ValidationError, match="frozen"):
        _make().span = timedelta(1)


def test_one_key_of_a_pair_is_set() -> None:
    """Exactly one key of a pair must be set, or at most one."""
    both = Some(token=SecretStr("a"), path=Path("b"))
    require_one(both, "token", "token_file")
    refuse_both(both, "token", "token_file")
    with pytest.raises(ValueError, match="set only one of token and path"):
        require_one(both, "token", "path")
    with pytest.raises(ValueError, match="set only one of token and path"):
        refuse_both(both, "token", "path")
    with pytest.raises(ValueError, match="one of token or token_file is required"):
        require_one(Some(), "token", "token_file")


@in_one_test(
    ("url", "is_plain_allowed"),
    [("https://a", False), ("https://a:1/b?c=d#e", False), ("http://127.0.0.1:80", False), ("http://localhost/", False),
     ("http://[::1]/", False), ("HTTPS://A/", False), ("http://a", True)],
)  # fmt: skip
def test_https_is_accepted(url: str, is_plain_allowed: bool) -> None:
    """https is accepted everywhere, http for loopback or where it is allowed."""
    assert check_url(url, is_plain_allowed=is_plain_allowed) == url


@in_one_test(
    "url",
    ["", "a", "//a", "ftp://a", "file:///etc/passwd", "https://", "https:///x", "http://a", "https://u:s3cret@a",
     "https://u@a", "https://a b", "https://a\n", "https://a\tb", "https://a\0", "https://a:x", "https://a:99999",
     "https://[::1", "http://127.0.0.1.example.com", "http://localhost.example.com", "javascript:alert(1)"],
)  # fmt: skip
def test_invalid_url_is_refused_without_its_text(url: str) -> None:
    """The reason does not contain the URL, which may contain a secret."""
    with pytest.raises(ValueError) as caught:
        check_url(url)
    assert "s3cret" not in str(caught.value)


def test_only_names_of_this_machine_are_loopback() -> None:
    """Only names and addresses that are always this machine are loopback."""
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"))
    assert not any(is_loopback(host) for host in ("", "0.0.0.0", "::", "10.0.0.1", "localhost.a", "127.1", "a"))

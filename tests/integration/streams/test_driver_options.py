"""The keys of drivers: destinations need TLS unless they are on this machine, and what cannot work is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actionwatch.streams.driver import driver_module
from tests.cases import in_one_test

WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("redis", {"url": "redis://redis.example.com"}, "redis:// is accepted only for loopback"),
    ("redis", {"url": "rediss://redis.example.com/x"}, "the number of the database"),
    ("redis", {"url": "rediss://redis.example.com", "max_length": 0}, "greater than or equal to 1"),
    ("redis", {"url": "rediss://user:secret@a.example"}, "use the keys for them"),
    ("redis", {"url": "rediss://a.example", "username": "a"}, "username and password belong together"),
    ("redis", {"url": "rediss://a.example", "key_file": "/k"}, "key_file requires cert_file"),
    ("kafka", {"brokers": "kafka.example.com"}, "not an address"),
    ("kafka", {"brokers": []}, "at least 1 item"),
    ("kafka", {"brokers": "kafka.example.com:9092", "tls": False}, "tls: false is accepted only for loopback"),
    ("kafka", {"brokers": ["127.0.0.1:1", "kafka.example.com:9092"], "tls": False}, "only for loopback"),
)
RIGHT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("redis", {"url": "redis://[::1]:6379/3", "username": "a", "password": "b"}),
    (
        "kafka",
        {"brokers": ["kafka.example.com:9093"], "username": "a", "password": "b", "sasl_mechanism": "SCRAM-SHA-512"},
    ),
)


@in_one_test(("name", "given", "what"), WRONG)
def test_wrong_keys_are_reported(name: str, given: dict[str, Any], what: str) -> None:
    """Each wrong key is reported, without a secret."""
    with pytest.raises(ValueError) as caught:
        driver_module(name).Options.model_validate(given, context={"folder": Path()})
    assert what in str(caught.value)
    assert "s3cret" not in str(caught.value)


@in_one_test(("name", "given"), RIGHT)
def test_usual_keys_are_accepted(name: str, given: dict[str, Any]) -> None:
    """What people write is accepted, and a driver can be built from it without a connection."""
    module = driver_module(name)
    module.build(module.Options.model_validate(given, context={"folder": Path()}), stream="lake").close()

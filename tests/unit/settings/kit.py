"""Receiver types for tests, which need no notifier, and a loader for the text of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from actionwatch.base.errors import ConfigError
from actionwatch.settings import Settings, Types, load_settings
from actionwatch.streams.driver import driver_module, driver_types
from actionwatch.text.matchers import parse_matcher
from actionwatch.text.options import Options, Secret, SecretFile, require_one

SOURCE = "sources: [{name: acme, organisation_id: o-1, username: eve, api_key: k3y}]\n"


class ChatOptions(Options):
    """A type with a secret pair, a nested list and a key whose attribute has another name."""

    token: Secret | None = None
    token_file: SecretFile | None = None
    port: Annotated[int, Field(ge=1, le=65_535)] = 1
    keys: Secret | list[Secret] | None = None
    sender: str = Field(default="a", alias="from")

    @model_validator(mode="after")
    def _check(self) -> ChatOptions:
        require_one(self, "token", "token_file")
        return self


class ScreenOptions(Options):
    """A type without options."""


TYPES: dict[str, type[Options]] = {"chat": ChatOptions, "screen": ScreenOptions}


def load(text: str | bytes, folder: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Write a configuration into a folder with rules, and load it."""
    (folder / "rules").mkdir(exist_ok=True)
    path = folder / "actionwatch.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_file(path, environ)


def load_file(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Load a configuration with the receiver types of the tests."""
    return load_settings(
        path,
        environ=environ or {},
        receiver_types=Types(tuple(TYPES), TYPES.__getitem__),
        stream_types=Types(driver_types(), lambda name: driver_module(name).Options),
        check_matcher=parse_matcher,
        record_fields=("user", "kind"),
    )


def faults(text: str | bytes, folder: Path, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the faults of a configuration as `line:column: what: remedy`; empty if it loads."""
    try:
        load(text, folder, environ)
    except ConfigError as exc:
        prefix = f"{folder / 'actionwatch.yaml'}:"
        return [str(fault).removeprefix(prefix).strip() for fault in exc.faults]
    return []

"""The files of `actionwatch init` load as written, and with every commented option."""

from __future__ import annotations

import configparser
import re
from importlib.resources import files
from pathlib import Path

import yaml

from actionwatch.settings import Settings, Types, load_settings
from actionwatch.settings.keys import Log, ReceiverOptions, Retention, RetryPolicy, RouteOptions, Source, Store
from actionwatch.settings.web_keys import Web
from actionwatch.streams.driver import driver_types
from actionwatch.text.matchers import parse_matcher
from actionwatch.text.options import Options
from tests.cases import in_one_test

TEMPLATE = files("actionwatch") / "_init" / "actionwatch.yaml"
ENVIRON = {
    "ACTIONWATCH_ORGANISATION_ID": "8a4e2b0e-0000-4000-8000-000000000000",
    "ACTIONWATCH_USERNAME": "eve",
    "ACTIONWATCH_API_KEY": "k",
}


class _Any(Options, extra="allow"):
    """Accepts any options."""


def _load(text: str, folder: Path) -> Settings:
    (folder / "rules").mkdir()
    path = folder / "actionwatch.yaml"
    path.write_text(text)
    return load_settings(
        path,
        environ=ENVIRON,
        receiver_types=Types(("console", "email", "slack", "webhook"), lambda _: _Any),
        stream_types=Types(driver_types(), lambda _: _Any),
        check_matcher=parse_matcher,
    )


def _uncommented() -> str:
    """Remove the `#` before keys and items. In prose, a blank follows it."""
    return re.sub(r"(?m)^( *)#(?! \S|$)", r"\1", TEMPLATE.read_text())


def test_template_loads_unchanged(tmp_path: Path) -> None:
    """The file needs only three environment variables, and shows the defaults."""
    settings = _load(TEMPLATE.read_text(), tmp_path)
    assert settings.store.path == tmp_path / "actionwatch.db"
    assert [receiver.type for receiver in settings.receivers] == ["console"]


def test_the_template_loads_with_every_option(tmp_path: Path) -> None:
    """Every commented line is valid, and those that show a default show the real one."""
    plain = _load(TEMPLATE.read_text(), tmp_path)
    (tmp_path / "all").mkdir()
    full = _load(_uncommented(), tmp_path / "all")
    assert full.sources == plain.sources
    assert full.store.retention == plain.store.retention
    assert full.receivers[0] == plain.receivers[0]
    assert (full.web, full.log, full.extra_kinds) == (plain.web, plain.log, plain.extra_kinds)
    assert [receiver.type for receiver in full.receivers] == ["console", "slack", "email", "webhook"]
    assert full.route.routes


@in_one_test("model", [Settings, Source, Store, Retention, ReceiverOptions, RetryPolicy, RouteOptions, Web, Log])
def test_template_and_reference_name_every_key(model: type[Options]) -> None:
    """The file of `init` and the reference contain every key of the settings."""
    reference = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    for name, field in model.model_fields.items():
        key = field.alias or name
        assert re.search(rf"\b{key}\b", TEMPLATE.read_text()), key
        assert re.search(rf"`(\w+\.)?{key}[.`]", reference), key


def test_the_examples_are_well_formed() -> None:
    """The compose file is YAML that runs the image read-only, and the unit has its sections."""
    compose = yaml.safe_load((files("actionwatch") / "_init" / "compose.yaml").read_text())
    service = compose["services"]["actionwatch"]
    assert "command" not in service
    assert service["read_only"] is True
    unit = configparser.RawConfigParser(strict=False)  # systemd adds up keys that are repeated
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string((files("actionwatch") / "_init" / "actionwatch.service").read_text())
    assert unit["Service"]["ExecStart"].endswith("run")


def test_operations_describe_the_compose_file() -> None:
    """docs/operations.md says how the compose file runs the image."""
    page = " ".join((Path(__file__).parents[3] / "docs" / "operations.md").read_text().split())
    service = yaml.safe_load((files("actionwatch") / "_init" / "compose.yaml").read_text())["services"]["actionwatch"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "`--read-only --cap-drop ALL`, as the compose file runs it" in page
    assert f"`restart: {service['restart']}`" in page
    assert service["image"] == "actionwatch:latest"
    assert "`docker build -t actionwatch .`" in page
    store = service["environment"]["ACTIONWATCH_STORE"].removeprefix("sqlite:///")
    (folder,) = [volume.partition(":")[2] for volume in service["volumes"] if volume.startswith("store:")]
    assert Path(store).parent == Path(folder)
    assert f"writes only to `{folder}`, a volume in the compose file" in page

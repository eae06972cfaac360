"""Sources in a file or a folder: defaults, names, labels, secrets by name, every fault with its place, reading again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from actionwatch.alerts.routes import OWN_LABELS
from actionwatch.base.errors import ConfigError
from actionwatch.service import configuration
from actionwatch.settings import Settings, Source
from actionwatch.settings.sources import source_places
from actionwatch.text.yaml_document import read_file
from tests.cases import in_one_test

RECEIVERS = "receivers: [{name: s, console: {}}]\n"
LISTED = "list the sources, or write {file: sources.yml} or {folder: sources}"


def write(folder: Path, sources: str, files: Mapping[str, str]) -> Path:
    """Write a configuration with this value of `sources`, and other files."""
    (folder / "rules").mkdir(exist_ok=True)
    config = folder / "actionwatch.yaml"
    config.write_text(f"sources: {sources}\n{RECEIVERS}")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return config


def load(folder: Path, sources: str, files: Mapping[str, str], environ: Mapping[str, str] | None = None) -> Settings:
    """Write a configuration, and load it."""
    return configuration.read_settings(write(folder, sources, files), environ or {})


def faults(folder: Path, sources: str, files: Mapping[str, str]) -> list[str]:
    """Return the faults of a configuration, without the path of its folder."""
    with pytest.raises(ConfigError) as caught:
        load(folder, sources, files)
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


def test_a_file_of_sources(tmp_path: Path) -> None:
    """A file with a list gives the same sources as the list itself, with variables and paths as there."""
    (tmp_path / "key").write_text("k3y\n")
    text = "- {name: acme, organisation_id: o-1, username: '${WHO}', api_key_file: key}\n"
    text += "- {name: b, organisation_id: o, username: u, api_key: k}\n"
    settings = load(tmp_path, "{file: conf/sources.yml}", {"conf/sources.yml": text}, {"WHO": "eve"})
    listed = load(tmp_path, "\n" + text.replace("- ", "  - "), {}, {"WHO": "eve"})
    assert settings.sources == listed.sources
    assert [(source.name, source.username, source.key) for source in settings.sources] == [
        ("acme", "eve", "k3y"),
        ("b", "u", "k"),
    ]
    assert settings.source_files is not None
    assert settings.source_files.path == tmp_path / "conf" / "sources.yml"
    assert listed.source_files is None
    assert settings != listed


def test_a_folder_of_sources(tmp_path: Path) -> None:
    """Each visible file is a source, named by its file unless it has a name, in the order of the files."""
    source = "organisation_id: o\nusername: u\napi_key: k\n"
    files = {"s/b.yml": source, "s/a.yaml": source, "s/c.yml": source + "name: third\n"}
    settings = load(
        tmp_path, "{folder: s}", {**files, "s/.hidden.yml": "]", "s/readme.txt": "x", "s/old.yml/a.yml": "]"}
    )
    assert [each.name for each in settings.sources] == ["a", "b", "third"]


def test_defaults(tmp_path: Path) -> None:
    """A source has the defaults that it does not set; labels are added; a key of a pair replaces the other key."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "a").write_text("key of a")
    defaults = "{username: eve, poll_interval: 30s, api_key_file: 'secrets/{name}', labels: {region: eu, tier: basic}}"
    files = {
        "s/a.yml": "organisation_id: o-1\nlabels: {tier: gold, customer: acme}\n",
        "s/b.yml": "organisation_id: o-2\nusername: mallory\npoll_interval: 5s\napi_key: own\n",
    }
    one, other = load(tmp_path, f"{{folder: s, defaults: {defaults}}}", files).sources
    assert (one.username, one.poll_interval, one.key) == ("eve", timedelta(seconds=30), "key of a")
    assert one.labels == {"region": "eu", "tier": "gold", "customer": "acme"}
    assert (other.username, other.poll_interval, other.key) == ("mallory", timedelta(seconds=5), "own")
    assert other.labels == {"region": "eu", "tier": "basic"}


def test_every_fault_has_its_place(tmp_path: Path) -> None:
    """All faults of all files are reported at once, those of the configuration first, each with file, line and column."""
    files = {
        "s/a.yml": "organisation_id: o\nusername: u\napi_key: k\n",
        "s/b.yml": "name: a\norganisation_id: o\nusername: u\napi_key: k\npol_interval: 5s\n",
        "s/c.yml": "organisation_id: ${NOT_SET}\nlabels:\n  level: x\n  a-b: y\n  customer: ''\n  tier: 1\n",
        "s/d.yml": "a: [",
        "s/e.yml": "- name: x\n",
        "s/f.yml": "",
        "s/g.yml": "a: 1\n---\nb: 2\n",
    }
    found = faults(tmp_path, "{folder: s, defaults: {username: u, name: x, overlap: long, polls: 1}}", files)
    assert found == [
        "actionwatch.yaml:1:46: each source has its own 'name': write it in each source",
        "actionwatch.yaml:1:55: overlap: not a duration: write a number with its unit, such as 30s, 15m, 26h or 7d",
        "actionwatch.yaml:1:70: unknown key 'polls': " + found[2].partition("'polls': ")[2],
        "s/b.yml:1:1: 'a' is already used in s/a.yml: choose another name",
        "s/b.yml:5:1: unknown key 'pol_interval': did you mean 'poll_interval'?",
        "s/c.yml:1:1: api_key_file: one of api_key and api_key_file is required: add api_key_file",
        "s/c.yml:1:1: the environment variable NOT_SET is not set: set it, or give a default: ${NOT_SET:-…}",
        "s/c.yml:3:3: level: all alerts have a label with this name: choose another one",
        "s/c.yml:4:3: a-b: not the name of a label: use letters, digits and _, as in Prometheus",
        "s/c.yml:5:3: customer: must be text on one line, not empty",
        "s/c.yml:6:3: tier: must be text, not a number: quote it",
        found[11],
        "s/e.yml:1:1: a source must have keys and values: write name: acme",
        "s/f.yml: the file is empty: write the keys of a source, or remove the file",
        "s/g.yml:3:1: a second source: write one file for each source",
    ]
    assert found[11].startswith("s/d.yml:")


@in_one_test(
    ("sources", "text", "fault"),
    [
        (
            "{folder: s}",
            "",
            "s: there is no *.yml or *.yaml in this folder: add a file for each source, or correct the path",
        ),
        ("{folder: none}", "", "actionwatch.yaml:1:11: folder: there is no none: create it, or correct the path"),
        ("{folder: f.yml}", "[]", "actionwatch.yaml:1:11: folder: 'f.yml' is not a folder: write it as file"),
        ("{file: f.yml}", "[]", "f.yml:1:1: no source is configured: add one, as `actionwatch init` shows"),
        ("{file: f.yml}", "", "f.yml:1:1: no source is configured: add one, as `actionwatch init` shows"),
        ("{file: f.yml}", "a: 1", "f.yml:1:1: the file must be a list of sources: begin each source with '- name: '"),
        ("{file: f.yml}", "- a", "f.yml:1:3: a source must have keys and values: write name: acme"),
        ("{file: f.yml, folder: s}", "[]", "actionwatch.yaml:1:24: folder: file is set too: keep one of the two"),
        ("{defaults: {}}", "", "actionwatch.yaml:1:1: folder: one of file and folder is required: add folder"),
        ("s", "", f"actionwatch.yaml:1:1: sources: must be a list or a mapping: {LISTED}"),
        ("{file: f.yml, defaults: 5}", "- {}", "actionwatch.yaml:1:24: defaults: must be a mapping, not a number"),
    ],
)
def test_no_sources(sources: str, text: str, fault: str, tmp_path: Path) -> None:
    """A file or folder without sources, or an unusable value, is one fault at its place."""
    (tmp_path / "s").mkdir(exist_ok=True)
    found = [each.replace(": ./", ": ./") for each in faults(tmp_path, sources, {"f.yml": text})]
    assert [
        each.replace("there is no none", "there is no none").replace(" f.yml is", " ./f.yml is") for each in found
    ] == [fault]


@in_one_test("name", ["../other", "a/b", "..", "a.b", "/etc/passwd", "~", "a b", "a\\\\b"])
def test_the_name_in_a_path_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    """`{name}` in the path of a secret accepts only names that are one plain part of a path."""
    (tmp_path / "other").write_text("secret of another")
    text = f'- {{name: "{name}", organisation_id: o, username: u, api_key_file: "keys/{{name}}"}}\n'
    (found,) = faults(tmp_path, "{file: f.yml}", {"f.yml": text, "keys/acme": "k"})
    assert found.startswith("f.yml:1:")
    assert "another" not in found


def test_a_name_is_inserted_once(tmp_path: Path) -> None:
    """Braces in what a variable contains are not a second `{name}`, and a missing secret names its file."""
    text = "- {name: acme, organisation_id: o, username: u, api_key_file: 'keys/{name}'}\n"
    (found,) = faults(tmp_path, "{file: f.yml}", {"f.yml": text})
    assert "cannot read the secret file keys/acme (No such file or directory)" in found


def test_links_out_of_the_folder(tmp_path: Path) -> None:
    """A link out of the folder of sources is a fault, as in the other folders."""
    outside = tmp_path / "outside.yml"
    outside.write_text("organisation_id: o\nusername: u\napi_key: k\n")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.yml").symlink_to(outside)
    (found,) = faults(tmp_path, "{folder: s}", {})
    assert found.startswith("s/a.yml: the file is outside the folder s")


def test_labels_that_alerts_have_already(tmp_path: Path) -> None:
    """No label of a source replaces one that actionwatch sets."""
    labels = "".join(f"    {name}: x\n" for name in OWN_LABELS)
    found = faults(tmp_path, f"\n- name: a\n  organisation_id: o\n  username: u\n  api_key: k\n  labels:\n{labels}", {})
    assert len(found) == len(OWN_LABELS)


def test_the_sources_are_read_again(tmp_path: Path) -> None:
    """The sources alone can be read again with the same defaults; all faults are reported."""
    source = "organisation_id: o\nsweeps: []\n"
    defaults = "{username: eve, api_key: k}"
    config = write(tmp_path, f"{{folder: s, defaults: {defaults}}}", {"s/a.yml": source})
    settings = configuration.read_settings(config, {})

    def names() -> list[str]:
        return [each.name for each in configuration.read_sources(settings, config, {"ID": "o-2"})]

    assert configuration.read_sources(settings, config, {}) == settings.sources
    (tmp_path / "s" / "b.yml").write_text("organisation_id: ${ID}\noverlap: 900d\n")
    with pytest.raises(ConfigError) as caught:
        names()
    assert "records must be kept as long as polls and sweeps reach back, which is 907d" not in str(caught.value)
    assert "records must be kept" in str(caught.value)
    (tmp_path / "s" / "b.yml").write_text("organisation_id: ${ID}\n")
    assert names() == ["a", "b"]
    (tmp_path / "s" / "a.yml").unlink()
    assert names() == ["b"]
    (tmp_path / "s" / "b.yml").write_text("organisation_id: ${ID}\nnam: b\nlabels: {a: ''}\n")
    with pytest.raises(ConfigError) as caught:
        names()
    assert [(fault.file, fault.line) for fault in caught.value.faults] == [
        (str(tmp_path / "s" / "b.yml"), n) for n in (2, 3)
    ]
    assert [each.name for each in settings.sources] == ["a"]


def test_secrets_in_defaults_are_not_shown(tmp_path: Path) -> None:
    """Settings that are printed do not contain a key in the defaults."""
    files = {"s/a.yml": "organisation_id: o\n"}
    settings = load(tmp_path, "{folder: s, defaults: {username: eve, api_key: s3cr3t}}", files)
    assert settings.sources[0].key == "s3cr3t"
    assert "s3cr3t" not in repr(settings) + repr(settings.source_files) + str(settings.source_files)


@pytest.mark.parametrize("sources", ["{file: s/a.yml}", "{folder: s}", ""])
def test_places(sources: str, tmp_path: Path) -> None:
    """Notes about a source have its place, wherever it is written."""
    item = "name: a\norganisation_id: o\nusername: u\napi_key: k\n"
    listed = "- " + item.replace("\n", "\n  ").rstrip(" ")
    files = {"s/a.yml": item} if "folder" in sources else {"s/a.yml": listed} if sources else {}
    config = write(tmp_path, sources or "\n" + listed, files)
    settings = configuration.read_settings(config, {})
    ((document, place),) = source_places(settings, read_file(config)[0])
    assert document.position((*place, "organisation_id"))[0] == (2 if sources else 3)
    assert document.file == str(tmp_path / "s" / "a.yml" if sources else config)


def test_a_thousand_sources_with_faults(tmp_path: Path) -> None:
    """Each of 1,000 broken sources has its faults, in the order of the files."""
    files = {f"s/{index:04}.yml": "organisation_id: o\nusernam: u\nlabels: {level: x}\n" for index in range(1000)}
    found = faults(tmp_path, "{folder: s, defaults: {overlap: 5}}", files)
    assert len(found) == 1 + 3 * 1000
    assert found[1].startswith("s/0000.yml:1:1: api_key_file: one of api_key and api_key_file")


def test_limits_of_the_upstream(tmp_path: Path) -> None:
    """The rate is one for each second; without limits there are 16 threads and no rate."""
    config = write(tmp_path, "[{name: a, organisation_id: o, username: u, api_key: k}]", {})
    assert configuration.read_settings(config, {}).upstream.model_dump() == {"rate_per_second": None, "threads": 16}
    config.write_text(config.read_text() + "upstream: {rate: 600/m, threads: 4}\n")
    assert configuration.read_settings(config, {}).upstream.model_dump() == {"rate_per_second": 10.0, "threads": 4}


def test_labels_are_part_of_a_source(tmp_path: Path) -> None:
    """A listed source can have labels too."""
    (source,) = load(
        tmp_path, "[{name: a, organisation_id: o, username: u, api_key: k, labels: {tier: gold}}]", {}
    ).sources
    assert isinstance(source, Source)
    assert source.labels == {"tier": "gold"}

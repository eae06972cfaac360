"""Files in the operator's folders, and files that the configuration names, that are not what they should be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from actionwatch.base.files import MAX_PEM_BYTES, UnsuitableFile, file_states, open_regular, read_regular
from actionwatch.net.tls import ClientCertificate, tls_context
from actionwatch.notifiers import webhook
from actionwatch.render.renderer import Renderer
from actionwatch.render.template_folders import read_texts
from actionwatch.rules.lists import list_folders, read_lists
from actionwatch.rules.load import load_rules
from actionwatch.service import configuration
from actionwatch.service.checking import check
from actionwatch.service.silence_files import read_silences
from actionwatch.text.options import MAX_SECRET_BYTES
from tests.builders import CLUSTER_DELETED_RULE
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.reload.kit import ConfigMap
from tests.unit.render.messages import message
from tests.unit.settings.kit import SOURCE, faults

SECRET = "s3cret-of-another-service"
FILES = {"rules": "r.yml", "lists": "l.txt", "templates": "own.json.j2", "silences": "s.yml"}
VALID = {
    "rules": CLUSTER_DELETED_RULE,
    "lists": "one\ntwo\n",
    "templates": "{}",
    "silences": "{matchers: ['rule=\"x\"'], author: a, comment: c, ends_at: '2026-12-01T00:00:00Z'}",
}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 31)


def linked(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_text(SECRET)
    path.symlink_to(secret)


Attack = Callable[[Path], None]
ATTACKS = [fifo, endless, huge, linked]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration with its four folders."""
    for name in FILES:
        (tmp_path / name).mkdir()
    (tmp_path / "actionwatch.yaml").write_text(SOURCE)
    return tmp_path


def faults_of(site: Path) -> dict[str, str]:
    """Check everything, and return the faults by file."""
    config = site / "actionwatch.yaml"
    return {fault.file: str(fault) for fault in check(configuration.read_settings(config, {}), config).faults}


@pytest.mark.parametrize("folder", FILES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_unsuitable_file_in_a_folder_is_not_read(site: Path, folder: str, attack: Attack) -> None:
    """No FIFO, device, huge file or link out of the folder is read, so that nothing hangs and nothing leaks."""
    path = site / folder / FILES[folder]
    attack(path)
    found = faults_of(site)
    assert list(found) == [str(path)]
    assert any(word in found[str(path)] for word in ("outside the folder", "not a regular file", "larger than"))
    assert SECRET not in found[str(path)]


@pytest.mark.parametrize("folder", FILES)
def test_kubernetes_links_keep_working(site: Path, folder: str) -> None:
    """A volume of Kubernetes, whose files are links through `..data`, is read before and after a change."""
    volume = ConfigMap(site / folder)
    volume.swap({FILES[folder]: VALID[folder]})
    assert faults_of(site) == {}
    volume.swap({FILES[folder]: VALID[folder], f"z{FILES[folder]}": "{{ broken"})
    assert [Path(file).name for file in faults_of(site)] == ([] if folder == "lists" else [f"z{FILES[folder]}"])
    settings = configuration.read_settings(site / "actionwatch.yaml", {})
    found: dict[str, object] = {
        "rules": [rule.name.name for rule in configuration.read_rules(settings).rules],
        "lists": configuration.known_lists(settings).values.get("l"),
        "templates": read_texts(settings.templates)[0].get("own.json.j2"),
        "silences": len(read_silences(settings)[0]),
    }
    assert (
        found[folder]
        == {"rules": ["cluster_deleted"], "lists": ("one", "two"), "templates": "{}", "silences": 1}[folder]
    )


def test_link_to_the_whole_folder_is_followed(site: Path) -> None:
    """A configured folder may itself be a link, as a deployment switches releases."""
    release = site.with_name("release")
    (site / "rules").rename(release)
    (site / "rules").symlink_to(release)
    (release / "r.yml").write_text(CLUSTER_DELETED_RULE)
    assert load_rules([site / "rules"], lists=None, known_kinds=["DELETE_CLUSTER"]).faults == ()


def test_lists_of_rules_cannot_be_elsewhere(site: Path) -> None:
    """A folder of rules whose `lists` is a link cannot make the texts of another folder the values of a list."""
    (site / "other").mkdir()
    (site / "other" / "passwords.txt").write_text(SECRET)
    (site / "rules" / "lists").symlink_to(site / "other")
    found = read_lists(list_folders(site / "lists", [site / "rules"]))
    assert SECRET not in str(found)
    assert "outside the folder" in found.faults[0].what


def test_linked_template_brings_no_secret_to_a_webhook(site: Path) -> None:
    """A link in the folder of templates does not deliver the file that it leads to, before and after a reload."""
    linked(site / "templates" / "own.json.j2")
    (site / "templates" / "notes.txt").write_text(SECRET)
    (site / "templates" / "other.json.j2").write_text("{% include 'own.json.j2' %}{% include 'notes.txt' %}")
    renderer = Renderer([site / "templates"])
    for _ in range(2):
        for name in ("own.json", "other.json", "../secret.json"):
            rendered, failures = renderer.render((name,), message())
            with HttpEnd(lambda _: Reply(200)) as server:
                options = webhook.Options.model_validate({"url": f"{server.url}/hook", "format": "own"})
                notifier = webhook.build(options, receiver="soar")
                notifier.send(message(), rendered, None)
                notifier.close()
                assert SECRET.encode() not in server.requests[0].body
            assert failures
            assert SECRET not in str(failures)
        texts, unread = read_texts(site / "templates")
        assert [Path(fault.file).name for fault in unread] == ["own.json.j2"]
        renderer.use(texts)


@pytest.mark.parametrize("attack", [fifo, endless, huge])
@pytest.mark.parametrize(
    "key",
    [
        "web: {token_file: it}",
        "sources: [{name: acme, organisation_id: o-1, username: eve, api_key_file: it}]",
        "sources: [{name: acme, organisation_id: o-1, username: eve, api_key: k, ca_file: it}]",
        "rules: [it]",
        "rules: [it.yml]",
    ],
)
def test_unsuitable_file_of_a_key_is_refused(tmp_path: Path, attack: Attack, key: str) -> None:
    """A secret, a certificate or a rule file that is a FIFO, a device or huge is an error that names it."""
    name = "it.yml" if "yml" in key else "it"
    attack(tmp_path / name)
    found = faults(key if "sources" in key else SOURCE + key, tmp_path)
    if "rules" in key:
        found = [str(fault) for fault in load_rules([tmp_path / name], lists=None, known_kinds=[]).faults]
    assert len(found) == 1
    assert str(tmp_path / name) in found[0]


@pytest.mark.parametrize("attack", [fifo, endless, huge])
def test_unsuitable_client_certificate_is_refused(tmp_path: Path, attack: Attack) -> None:
    """OpenSSL is never given a FIFO, a device or a huge file, neither as a certificate nor as its key."""
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    trustme.CA().issue_cert("client").private_key_and_cert_chain_pem.write_to_path(good)
    attack(bad)
    tls_context(good, ClientCertificate(good))
    for ca_file, cert, key in ((bad, good, good), (good, bad, good), (good, good, bad)):
        with pytest.raises(UnsuitableFile, match=r"regular file|larger than"):
            tls_context(ca_file, ClientCertificate(cert, key))


def test_secrets_may_lie_anywhere(tmp_path: Path) -> None:
    """A secret is read through links out of its folder, as systems mount it, if it is small enough."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "token").write_text("x" * MAX_SECRET_BYTES)
    (tmp_path / "token").symlink_to(tmp_path / "run" / "token")
    assert faults(SOURCE + "web: {token_file: token}", tmp_path) == []
    (tmp_path / "run" / "token").write_text("x\n" * MAX_SECRET_BYTES)
    (found,) = faults(SOURCE + "web: {token_file: token}", tmp_path)
    assert f"larger than {MAX_SECRET_BYTES} bytes" in found


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/self/pagemap"])
def test_file_that_hides_its_size_is_limited(path: str) -> None:
    """A file of /proc has the size 0 and may have no end: at most the limit is read."""
    with pytest.raises(UnsuitableFile, match="larger than 10 bytes"):
        read_regular(Path(path), 10)


def test_refused_file_is_closed(tmp_path: Path) -> None:
    """Refusing a file leaves no descriptor open."""
    fifo(tmp_path / "fifo")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("fifo", ".", "gone"):
        with pytest.raises(OSError):
            open_regular(tmp_path / name, MAX_PEM_BYTES)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_links_to_their_own_folder_are_not_followed(site: Path) -> None:
    """Two links to the folder that contains them, which make 2**40 paths, do not stop the watcher."""
    (site / "rules" / "r.yml").write_text(CLUSTER_DELETED_RULE)
    for name in "ab":
        (site / "rules" / name).symlink_to(".")
    assert len(file_states([site / "rules"])) == 3

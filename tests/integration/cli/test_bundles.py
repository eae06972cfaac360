"""`records export --bundle` and `verify-bundle`: evidence of a real store, verified with actionwatch and without it."""

from __future__ import annotations

import contextlib
import json
import re
import stat
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actionwatch.text import bundle
from tests.bundles import make_keys, parts_of
from tests.children import run_child
from tests.integration.cli.conftest import Desk, call, new_desk, store_under_test
from tests.waiting import pause

SHA = "SHA-256 of its SHA256SUMS, which covers everything: "


def export(desk: Desk, target: Path, *more: str) -> Path:
    """Write a bundle of the last two hours that the store has."""
    done = desk.call("records", "export", "--bundle", str(target), "--since", "2h", *more)
    assert done.status == 0, done.err
    return target


def fill(desk: Desk) -> Desk:
    """Let a desk have one round, with a silence before it and a decision after it."""
    desk.act("CREATE_CLUSTER", 50, "bob@example.com")
    desk.act("DELETE_CLUSTER", 40, "eve@example.com", "\u202eDeleted cluster payments-prod")
    desk.act("LIST_KAFKA_ACLS", 10)
    with contextlib.closing(desk.open_store()) as database:
        database.set_up()
    silence = ("silences", "add", "rule=other", "--for", "1h", "--comment", "maintenance", "--author", "amy", "--force")
    assert desk.call(*silence).status == 0
    pause(1.0)  # the upstream's clock has whole seconds
    assert desk.call("run", "--once").status == 0
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    assert desk.call("alerts", "ack", alert["id"], "--author", "amy", "--comment", "it was planned").status == 0
    return desk


@pytest.fixture(scope="module")
def round_(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Desk]:
    """A shared desk after one round. Tests must not change it."""
    folder = tmp_path_factory.mktemp("round")
    with store_under_test(store_kind, "bundles") as store, new_desk(folder, store) as desk:
        yield fill(desk)


def test_bundle_has_everything_about_its_time(round_: Desk, tmp_path: Path) -> None:
    """Records with their raw text, receipts, proof, rules, the alert, who decided, messages and silences are in the bundle."""
    parts = parts_of(export(round_, tmp_path / "e.tar").read_bytes())
    documents = {name: [json.loads(line) for line in parts[name].splitlines()] for name in bundle.LINES}
    stored = round_.call("records", "list", "-o", "json").json
    records = documents["records.jsonl"]
    assert [each["record_key"] for each in records] == sorted(each["key"] for each in stored)
    assert [json.loads(each["raw"]) for each in records] == [each["raw"] for each in reversed(stored)]
    receipts = round_.call("records", "receipts", "-o", "json").json
    assert {each["digest"] for each in documents["receipts.jsonl"]} == {each["digest"] for each in receipts}
    assert [each["state"] for each in documents["rule_versions.jsonl"]] == ["live"]
    assert "DELETE_CLUSTER" in documents["rule_versions.jsonl"][0]["document"]
    (alert,) = documents["alerts.jsonl"]
    assert (alert["level"], alert["status"], alert["acked_by"]) == ("critical", "acked", "amy")
    assert [each["record_key"] for each in documents["alert_records.jsonl"]] == [records[1]["record_key"]]
    assert any("it was planned" in each["what"] for each in documents["alert_history.jsonl"])
    assert {each["receiver"] for each in documents["deliveries.jsonl"]} == {"soar"}
    assert [each["comment"] for each in documents["silences.jsonl"]] == ["maintenance"]
    manifest = json.loads(parts["manifest.json"])
    assert [each["is_proved"] for each in manifest["proof"]] == [True]
    assert {each["name"]: each.get("lines") for each in manifest["parts"]} == {
        **{name: len(found) for name, found in documents.items()},
        bundle.README: None,
        bundle.DIGESTS: None,
    }


def test_same_store_and_time_give_the_same_bytes(round_: Desk, tmp_path: Path) -> None:
    """Two exports of one time are equal; no clock, owner or folder leaves a trace; only the owner may read them."""
    since = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).isoformat()
    files = [tmp_path / "one.tar", tmp_path / "two.tar"]
    for file in files:
        assert round_.call("records", "export", "--bundle", str(file), "--since", since).status == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "tar" in path.name) == ["one.tar", "two.tar"]


def test_records_of_other_times_are_explained(round_: Desk, tmp_path: Path) -> None:
    """A bundle of a part of a window has all of its records, and says how many are of another time, and why."""
    done = round_.call("records", "export", "--bundle", str(tmp_path / "e.tar"), "--since", "30m")
    assert done.status == 0, done.err
    (line,) = [line for line in done.out.splitlines() if "from before or after" in line]
    assert line.startswith("2 records are from before or after ")
    assert line.endswith(": a receipt is verified with all records of its window")
    whole = round_.call("records", "export", "--bundle", str(tmp_path / "w.tar"), "--since", "1d")
    assert "from before or after" not in whole.out


def test_intact_bundle_is_verified(round_: Desk, tmp_path: Path) -> None:
    """Without a store, the command states what is proved, and the digest that the export printed; JSON says the same."""
    target = tmp_path / "e.tar"
    done = round_.call("records", "export", "--bundle", str(target), "--since", "2h")
    verified = call("verify-bundle", str(target))
    assert verified.status == 0, verified.err
    assert verified.out.splitlines()[0] == done.out.splitlines()[0]
    assert "the upstream showed exactly the records in the bundle" in verified.out
    assert "3 records and " in verified.out
    assert "it is not signed" in verified.out
    assert verified.out.splitlines()[-1] == done.out.splitlines()[-1]
    document = call("verify-bundle", str(target), "-o", "json").json
    assert (document["is_intact"], document["has_signature"], document["is_signed"]) == (True, False, None)
    assert (document["records"], SHA + document["digest"]) == (3, done.out.splitlines()[-1])


def test_auditor_needs_no_actionwatch(round_: Desk, tmp_path: Path) -> None:
    """tar, sha256sum and openssl verify a signed bundle, with the commands of its README; a changed byte fails."""
    private, public = make_keys(tmp_path)
    target = export(round_, tmp_path / "e.tar", "--sign", str(private))
    assert run_child(["tar", "-xf", str(target)], cwd=tmp_path).returncode == 0
    folder = tmp_path / bundle.FOLDER
    commands = [line.strip() for line in (folder / "README.txt").read_text().splitlines() if line.startswith("  ")]
    script = "\n".join(commands[:2]).replace("PUBLIC-KEY.pem", str(public))
    assert script.startswith("sha256sum -c SHA256SUMS\nopenssl pkeyutl -verify")
    assert run_child(["bash", "-e", "-c", script], cwd=folder).returncode == 0
    for name in (*bundle.SUMMED, bundle.SUMS, bundle.SIGNATURE):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(bytes([(data[0] if data else 0) ^ 1]) + data[1:])
        assert run_child(["bash", "-e", "-c", script], cwd=folder).returncode != 0, name
        (folder / name).write_bytes(data)


def test_signature_is_verified_with_the_key_of_its_owner(round_: Desk, tmp_path: Path) -> None:
    """The right key verifies; another key, a bundle without signature, and no key do not."""
    private, public = make_keys(tmp_path)
    (tmp_path / "other").mkdir()
    _, stranger = make_keys(tmp_path / "other")
    signed, plain = (
        export(round_, tmp_path / "signed.tar", "--sign", str(private)),
        export(round_, tmp_path / "plain.tar"),
    )
    found = call("verify-bundle", str(signed), "--key", str(public))
    assert (found.status, "signed by the owner of" in found.out) == (0, True)
    assert "its signature was not verified: add --key" in call("verify-bundle", str(signed)).out
    for file, key, what in (
        (signed, stranger, "its signature is not by the owner of"),
        (plain, public, "it has no signature"),
    ):
        refused = call("verify-bundle", str(file), "--key", str(key))
        assert (refused.status, what in refused.err, refused.out) == (1, True, "")
    assert len(parts_of(signed.read_bytes())[bundle.SIGNATURE]) == 64


def test_time_that_is_not_proved_is_stated(desk: Desk, tmp_path: Path) -> None:
    """A bundle says which time is not proved, and ends where the sources were read to."""
    fill(desk).change("DELETE FROM receipt")
    target = tmp_path / "e.tar"
    done = desk.call("records", "export", "--bundle", str(target), "--since", "3d", "--until", "2300-01-01")
    assert done.out.startswith("acme: not proved from ")
    found = call("verify-bundle", str(target), "-o", "json").json
    assert [each["is_proved"] for each in found["proof"]] == [False]
    assert datetime.fromisoformat(found["to"]) < datetime.now(UTC)


@pytest.mark.parametrize(
    ("options", "status", "what"),
    [
        ((), 2, "--bundle needs --since"),
        (("--since", "2h", "--user", "eve"), 2, "omit all filters except --since and --until"),
        (("--since", "2h", "-o", "csv"), 2, "omit -o"),
        (("--since", "2300-01-01"), 1, "nothing was read after"),
        (("--since", "2h", "--sign", "actionwatch.yaml"), 1, "is not such a key in PEM, without a password"),
    ],
)
def test_export_refuses_what_is_no_evidence(
    round_: Desk, tmp_path: Path, options: tuple[str, ...], status: int, what: str
) -> None:
    """A bundle needs a time, all its records and a usable key; otherwise no file appears."""
    options = tuple(str(round_.config) if each == "actionwatch.yaml" else each for each in options)
    target = tmp_path / "e.tar"
    refused = round_.call("records", "export", "--bundle", str(target), *options)
    assert (refused.status, what in refused.err) == (status, True), refused.err
    assert not target.exists()


def test_export_overwrites_nothing(round_: Desk, tmp_path: Path) -> None:
    """An existing file stays as it is, a folder that is not there is named, and --sign needs --bundle."""
    target = export(round_, tmp_path / "e.tar")
    before = target.read_bytes()
    again = round_.call("records", "export", "--bundle", str(target), "--since", "2h")
    assert (again.status, "nothing is overwritten" in again.err, target.read_bytes()) == (1, True, before)
    lost = round_.call("records", "export", "--bundle", str(tmp_path / "no" / "e.tar"), "--since", "2h")
    assert (lost.status, "check its folder" in lost.err) == (1, True)
    assert round_.call("records", "export", "--sign", str(round_.config)).status == 2


def test_keys_of_other_kinds_are_refused(round_: Desk, tmp_path: Path) -> None:
    """A key of another algorithm, one with a password, and a private one in place of a public one are refused."""
    made = {
        "rsa.pem": ("genpkey", "-algorithm", "rsa", "-out"),
        "locked.pem": ("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out"),
    }
    for name, command in made.items():
        assert run_child(["openssl", *command, str(tmp_path / name)]).returncode == 0
        asked = ("records", "export", "--bundle", str(tmp_path / "e.tar"), "--since", "2h")
        refused = round_.call(*asked, "--sign", str(tmp_path / name))
        assert (refused.status, "openssl genpkey -algorithm ed25519" in refused.err) == (1, True), name
    private, _ = make_keys(tmp_path)
    refused = call("verify-bundle", str(export(round_, tmp_path / "e.tar")), "--key", str(private))
    assert (refused.status, "openssl pkey" in refused.err) == (1, True)


def test_signing_without_the_extra_names_it(round_: Desk, tmp_path: Path) -> None:
    """Where the package for signatures is not installed, signing fails with the file to install; bundles without it work."""
    private, public = make_keys(tmp_path)
    script = "import sys; sys.modules['cryptography'] = None\nfrom actionwatch.cli import main; main(sys.argv[1:])"
    python = [sys.executable, "-c", script, "-c", str(round_.config)]
    target = str(tmp_path / "e.tar")
    export_ = [*python, "records", "export", "--bundle", target, "--since", "2h"]
    refused = run_child([*export_, "--sign", str(private)])
    assert (refused.returncode, "requirements/sign.txt" in refused.stderr) == (1, True)
    assert run_child(export_).returncode == 0
    assert run_child([*python, "verify-bundle", target]).returncode == 0
    assert "requirements/sign.txt" in run_child([*python, "verify-bundle", target, "--key", str(public)]).stderr


def test_empty_store_has_nothing_to_export(desk: Desk) -> None:
    """A store without a poll is refused with the reason."""
    with contextlib.closing(desk.open_store()) as database:
        database.set_up()
    refused = desk.call("records", "export", "--bundle", str(desk.folder / "e.tar"), "--since", "2h")
    assert (refused.status, "no source was read yet" in refused.err) == (1, True)


def test_changed_store_is_found_by_the_export(desk: Desk, tmp_path: Path) -> None:
    """If the records in the store are not those of the receipts, the bundle is written, and the command says so and fails."""
    fill(desk).change("DELETE FROM record WHERE action_kind = 'DELETE_CLUSTER'")
    target = tmp_path / "e.tar"
    done = desk.call("records", "export", "--bundle", str(target), "--since", "2h")
    assert (done.status, target.exists()) == (1, True)
    assert "it attests 3 records, the bundle has 2: they differ" in done.err
    assert call("verify-bundle", str(target)).status == 1


def test_time_of_deleted_records_is_refused(desk: Desk, tmp_path: Path) -> None:
    """A receipt whose records retention deleted proves nothing: such a time is refused, with the first one that is whole."""
    fill(desk)
    asked = ("records", "export", "--bundle", str(tmp_path / "e.tar"), "--since")
    desk.change("UPDATE record_count SET deleted_count = 1")
    refused = desk.call(*asked, "800d")
    assert (refused.status, "retention deleted records of this time" in refused.err) == (1, True)
    (whole,) = re.findall(r"--since (\S+)", refused.err)
    assert desk.call(*asked, whole).status == 0
    desk.change("UPDATE receipt SET starts_at = 0 WHERE id = (SELECT max(id) FROM receipt)")
    later = desk.call("records", "export", "--bundle", str(tmp_path / "f.tar"), "--since", whole)
    assert re.findall(r"--since (\S+)", later.err)[0] > whole
    desk.change("UPDATE record_count SET deleted_count = 0")
    assert "retention" not in desk.call(*asked, "800d").err

"""`store verify`: exit status 0 while the store agrees with its chain of seals; otherwise it names what differs."""

from __future__ import annotations

import contextlib
import json
import tarfile
from pathlib import Path

import pytest

from actionwatch.store.sealed_tables import SEALED, VERSIONED
from actionwatch.store.seals import Head
from tests.integration.cli.conftest import Desk, call
from tests.integration.store.sealed import stranger


def change(desk: Desk, statement: str) -> None:
    """Change the store with another program."""
    with contextlib.closing(desk.open_store()) as database, stranger(database) as other:
        other.run(statement)


@pytest.fixture
def round_(desk: Desk) -> Desk:
    """A desk after one round, with an alert."""
    desk.act("DELETE_CLUSTER", 40, "eve@example.com")
    assert desk.call("run", "--once").status == 0
    return desk


def test_store_of_a_round_agrees(round_: Desk) -> None:
    """A round leaves nothing unsealed. The tables are counted, and the head is that of `status`."""
    done = round_.call("store", "verify")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith("everything agrees\n")
    document = round_.call("store", "verify", "-o", "json").json
    assert document["agrees"]
    assert document["tables"].keys() == {**SEALED, **VERSIONED}.keys()
    assert document["tables"]["record"] == {"sealed": 1, "unsealed": 0, "removed": 0}
    assert document["head"] == round_.call("status", "-o", "json").json["seals"]["head"]
    assert f"head {document['head']}" in done.out


def test_decisions_after_a_round_are_not_sealed_yet(round_: Desk) -> None:
    """What a command wrote while no service runs is counted as not sealed yet, and the next round seals it."""
    assert round_.call("silences", "add", "level=low", "--for", "2h", "--comment", "x").status == 0
    document = round_.call("store", "verify", "-o", "json").json
    assert (document["agrees"], document["tables"]["silence"]["unsealed"]) == (True, 1)
    seals = round_.call("status", "-o", "json").json["seals"]
    assert (seals["unsealed"], seals["unsealed_is_lower_bound"]) == (1, False)
    assert round_.call("run", "--once").status == 0
    document = round_.call("store", "verify", "-o", "json").json
    assert (document["agrees"], document["tables"]["silence"]["sealed"]) == (True, 1)


def test_additions_are_named(round_: Desk) -> None:
    """Tables, views and indexes of another program are named, and are no difference; a trigger is refused."""
    change(round_, "CREATE TABLE note (content TEXT)")
    change(round_, "CREATE VIEW eve AS SELECT * FROM record")
    change(round_, "CREATE INDEX mine ON record (user_name)")
    done = round_.call("store", "verify", "-o", "json")
    assert (done.status, done.json["additions"]) == (0, ["table note", "view eve", "index mine"])
    assert (
        "not created by actionwatch, and without effect on what it writes: table note"
        in round_.call("store", "verify").out
    )
    change(round_, "CREATE UNIQUE INDEX held ON delivery (receiver)")
    done = round_.call("store", "verify")
    assert done.status == 1
    assert "the index held is not one that actionwatch creates" in done.err


def test_differences_are_named(round_: Desk) -> None:
    """Each row that another program changed is named with its table and key, and the exit status is 1."""
    change(round_, "UPDATE record SET user_name = 'mallory'")
    change(round_, "DELETE FROM alert_history")
    found = round_.call("store", "verify")
    assert found.status == 1
    assert "record 1: changed: it is not what seal " in found.err
    assert "alert_history 1: missing: seal " in found.err
    assert "everything agrees" not in found.out
    document = round_.call("store", "verify", "-o", "json").json
    assert not document["agrees"]
    assert {"table": "record", "key": "1"}.items() <= document["differences"][0].items()
    assert document["difference_count"] == len(document["differences"])


def test_earlier_head_is_part_of_the_chain(round_: Desk, tmp_path: Path) -> None:
    """The head in the manifest of a bundle is part of the chain later, and another one is not."""
    target = tmp_path / "e.tar"
    assert round_.call("records", "export", "--bundle", str(target), "--since", "2h").status == 0
    noted = json.loads(manifest_of(target))["head"]
    assert call("verify-bundle", str(target), "-o", "json").json["head"] == noted
    assert f"'actionwatch store verify --head': {noted}" in call("verify-bundle", str(target)).out
    round_.act("DELETE_CLUSTER", 20, "mallory@example.com")
    assert round_.call("run", "--once").status == 0
    assert round_.call("store", "verify", "--head", noted).status == 0
    number = noted.partition(":")[0]
    other = round_.call("store", "verify", "--head", str(Head(int(number), "0" * 64)))
    assert other.status == 1
    assert f"seal {number}: its digest was 0000" in other.err


def manifest_of(bundle: Path) -> bytes:
    """Return the manifest of a bundle."""
    with tarfile.open(bundle) as archive:
        found = archive.extractfile(next(name for name in archive.getnames() if name.endswith("manifest.json")))
        assert found is not None
        return found.read()


@pytest.mark.parametrize("text", ["", "1", "1:abc", f"x:{'0' * 64}", f"{'9' * 40}:{'0' * 64}"])
def test_head_must_be_one(desk: Desk, text: str) -> None:
    """What is no head is refused with the form of one."""
    refused = desk.call("store", "verify", "--head", text)
    assert refused.status == 2
    assert "write the number of a seal, a colon and its digest" in " ".join(refused.err.split())


def test_restored_backup_agrees(round_: Desk, tmp_path: Path) -> None:
    """A backup has its chain, and continues it after it was restored; a head noted since is named."""
    if not round_.file:
        return
    assert round_.call("store", "backup", str(tmp_path / "copy.db")).status == 0
    round_.act("DELETE_CLUSTER", 20, "mallory@example.com")
    assert round_.call("run", "--once").status == 0
    noted = round_.call("store", "verify", "-o", "json").json["head"]
    assert round_.call("store", "restore", str(tmp_path / "copy.db"), "--replace").status == 0
    assert round_.call("store", "verify").status == 0
    found = round_.call("store", "verify", "--head", noted)
    assert found.status == 1
    assert "missing: the newest seal is" in found.err
    assert round_.call("run", "--once").status == 0
    assert round_.call("store", "verify").status == 0

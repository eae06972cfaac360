"""`demo` and `emulator` in an empty folder without a configuration."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from actionwatch.emulator.sample import create_organisation
from tests import http_client
from tests.children import exit_status, printed, run_child
from tests.debian import find
from tests.end_to_end import kit
from tests.integration.streams.ends.server import ServerProcess

SUMMARY = ("seen", "proved", "matched", "delivered", "latency")


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, and another one for temporary files."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path / "empty"


def test_two_demos_at_once(empty: Path) -> None:
    """Two demos at once print correct summaries, exit with 0 (one after Ctrl-C), and leave no file behind."""
    pipe = subprocess.PIPE
    with (
        kit.started("demo", "--for", "4s", folder=empty, stdout=pipe, stderr=pipe) as timed,
        kit.started("demo", "--for", "0", folder=empty, stdout=pipe, stderr=pipe) as endless,
    ):
        assert endless.stdout is not None
        before = kit.read_until(endless.stdout, "· opened")
        endless.send_signal(signal.SIGINT)
        rest, interrupted_err = printed(endless)
        timed_out, timed_err = printed(timed)
    assert (endless.returncode, timed.returncode) == (0, 0)
    assert (interrupted_err, timed_err) == ("", "")
    for text in (before + rest, timed_out):
        assert all(re.search(rf"│ {name} ", text) for name in SUMMARY)
        assert "\x1b" not in text
    assert re.search(r"^· \d\d:\d\d:\d\d", before, re.MULTILINE)
    assert re.search(
        r"Business hours are those of its head office \(\w+/\w+\): .* the office is closed", " ".join(before.split())
    )
    made, shown = (
        re.search(r"made (\d+) alerts?", rest),
        len(re.findall(r"· opened\n", before + rest)),
    )
    assert made is not None
    assert "actionwatch explain" not in before + rest, (
        "its configuration is gone, or hard to name, while the links work"
    )
    assert "--keep DIR" in rest
    assert 1 <= shown <= int(made[1])  # Ctrl-C may come between an alert and its delivery
    assert list(empty.iterdir()) == []
    assert os.listdir(empty.parent / "tmp") == []  # noqa: PTH208


def test_demo_can_be_kept(empty: Path) -> None:
    """`--keep` leaves a folder in which the other commands work. A folder that is not empty is refused with exit status 2."""
    with kit.started_warm("demo", "--for", "0", "--keep", "kept", folder=empty, stdout=subprocess.PIPE) as kept:
        assert kept.stdout is not None
        kit.read_until(kept.stdout, "· opened")
        kept.send_signal(signal.SIGINT)
        kept.stdout.read()
        exit_status(kept)
    assert kept.returncode == 0
    assert [path.name for path in empty.iterdir()] == ["kept"]
    status = kit.called("-c", "kept/actionwatch.yaml", "status", "-o", "json", folder=empty)
    assert {trouble["trouble"] for trouble in json.loads(status.stdout)["troubles"]} <= {"service_stopped"}, (
        status.stdout
    )
    listed = kit.called("-c", "kept/actionwatch.yaml", "records", "list", folder=empty)
    assert len(listed.stdout.splitlines()) > 10
    assert kit.finished_warm("demo", "--for", "2s", "--keep", "kept", folder=empty).returncode == 2


def test_cards_of_the_demo_link_to_its_page(empty: Path) -> None:
    """Each card has the URL of its alert, which opens while the demo runs."""
    with kit.started_warm("demo", "--for", "0", folder=empty, stdout=subprocess.PIPE) as demo:
        assert demo.stdout is not None
        kit.read_until(demo.stdout, "· opened")
        url = demo.stdout.readline().split()[-1]
        page = http_client.get(url)
        assert (page.status_code, f"actionwatch explain {url.rpartition('/')[2][:8]}" in page.text) == (200, True)
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()
        assert exit_status(demo) == 0


def test_demo_of_several_customers(empty: Path) -> None:
    """`--organisations` watches a source with labels for each, from a folder, and the kept configuration is valid."""
    options = ("--organisations", "4", "--keep", "kept")
    with kit.started_warm("demo", "--for", "0", *options, folder=empty, stdout=subprocess.PIPE) as kept:
        assert kept.stdout is not None
        shown = kit.read_until(kept.stdout, "· opened")
        kept.send_signal(signal.SIGINT)
        kept.stdout.read()
        exit_status(kept)
    assert "Acme, and 3 others, run at" in " ".join(shown.split())
    files = sorted((empty / "kept" / "sources").iterdir())
    assert [path.name for path in files] == ["demo.yml", "org-0001.yml", "org-0002.yml", "org-0003.yml"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    status = kit.called("-c", "kept/actionwatch.yaml", "status", "-o", "json", folder=empty)
    assert [source["name"] for source in json.loads(status.stdout)["sources"]] == [path.stem for path in files]
    assert kit.called("-c", "kept/actionwatch.yaml", "check", folder=empty).returncode == 0


def test_emulator_writes_the_sources_of_a_configuration(empty: Path) -> None:
    """`--write-sources` writes a file that a configuration uses as it is, and never replaces a file of somebody else."""
    (empty / "mine.yml").write_text("- name: real\n")
    command = ("emulator", "--port", "0", "--organisations", "3", "--rate", "6/m", "--write-sources")
    refused = kit.finished(*command, "mine.yml", folder=empty)
    assert (refused.returncode, "is not a file that this command wrote" in refused.stderr) == (2, True)
    (empty / "rules").mkdir()
    receivers = "receivers: [{name: screen, console: {}}]\n"
    (empty / "actionwatch.yaml").write_text(f"sources: {{file: sources.yml, defaults: {{start: 1h}}}}\n{receivers}")
    for number in range(2):  # the second one replaces the file of the first
        with kit.started_warm(*command, "sources.yml", folder=empty, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            kit.read_until(process.stdout, "ready: 3 organisations")
            assert (empty / "sources.yml").stat().st_mode & 0o777 == 0o600
            if number:
                ran = kit.called("run", "--once", folder=empty)
                assert ran.returncode == 0, ran.stderr
            process.send_signal(signal.SIGTERM)
            assert exit_status(process) == 0


def test_demo_ends_if_its_reader_closes_the_pipe(empty: Path) -> None:
    """`actionwatch demo | head` ends soon, without a traceback, and leaves no file behind."""
    with kit.started("demo", "--for", "0", folder=empty, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        exit_status(process)
        assert "Traceback" not in process.stderr.read()
    assert os.listdir(empty.parent / "tmp") == []  # noqa: PTH208


def test_port_in_use_is_reported_with_a_remedy(empty: Path, up: kit.Upstream) -> None:
    """`emulator` and `demo` on a taken port exit 1 and name the option that would help."""
    port = up.base_url.rpartition(":")[2]
    for command in ("emulator", "demo"):
        ran = kit.finished(command, "--port", port, folder=empty)
        assert ran.returncode == 1
        assert (
            ran.stderr
            == f"actionwatch: cannot listen on 127.0.0.1:{port}: Address already in use: choose another --port\n"
        )


def test_version_and_help_work(empty: Path) -> None:
    """`--version` and `--help` of the installed command work; a closed pipe causes no traceback."""
    assert kit.finished("--version", folder=empty).stdout.startswith("actionwatch, version ")
    assert kit.finished("--help", folder=empty).stdout.startswith("Usage: actionwatch")
    full = run_child(["sh", "-c", f"{kit.COMMAND} receivers schema | true"])
    assert "Traceback" not in full.stderr


def test_faults_of_a_scenario_are_active_with_those_of_the_command_line(empty: Path) -> None:
    """The emulator applies the faults that the scenario file lists, and those of the command line."""
    plan = f"{kit.QUIET}faults:\n  - {{fault: error, arg: {{status: 502, body: html}}}}\n"
    with kit.upstream(empty, plan, "--fault", "total:absent") as up:
        (faults,) = up.control("GET", "/faults")
        assert {each["fault"] for each in faults} == {"error", "total"}


@pytest.mark.parametrize(("options", "seed"), [((), 7), (("--seed", "8"), 8)])
def test_seed_of_the_command_line_replaces_that_of_the_scenario(
    empty: Path, options: tuple[str, ...], seed: int
) -> None:
    """`--seed` applies with a scenario too; without it, the seed of the file does."""
    with kit.upstream(empty, f"{kit.QUIET}seed: 7\n", *options) as up:
        up.control("POST", "/actions", [{"action": "DELETE_CLUSTER", "cluster": "sandbox-kafka"}])
        expected = create_organisation(seed).inventory.find_cluster("sandbox-kafka")
        assert expected is not None
        assert [record["clusterId"] for record in up.control("GET", "/truth")] == [expected.id]


def test_demo_shows_what_arrives_at_a_broker(empty: Path, tmp_path: Path) -> None:
    """Records and statements arrive at a real broker, and their digests match. Without a broker, the demo
    names its address and the compose file, and starts nothing.
    """
    ended = kit.called("demo", "--stream", "redis", "--for", "1s", folder=empty)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "no Redis or Valkey server answers at redis://127.0.0.1:6390" in ended.stderr
    assert "docs/deploy/streams" in ended.stderr
    command = [find("valkey-server", "valkey-server"), "--bind", "127.0.0.1", "--port", "6390", "--save", ""]
    server = ServerProcess([*command, "--dir", str(tmp_path)], 6390, tmp_path)
    server.start()
    try:
        ended = kit.called("demo", "--stream", "redis", "--for", "20s", folder=empty)
    finally:
        server.stop()
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^» \d+ records? arrived at the broker$", ended.stdout, re.MULTILINE)
    verdicts = re.findall(r"^» stream\.complete_through \S+: (.*)$", ended.stdout, re.MULTILINE)
    assert verdicts
    assert all(verdict.endswith("digest matches") for verdict in verdicts)

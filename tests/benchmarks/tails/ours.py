"""actionwatch: only the tail (`stored`), or with 100 rules that run until the end of the backlog (`matched`)."""

from __future__ import annotations

import random
import sys
import threading
from pathlib import Path

from actionwatch.instaclustr.kinds import KINDS
from actionwatch.service import app, configuration
from tests.benchmarks.tails.report import measure

CONFIG = """
sources:
  - {{name: bench, organisation_id: {organisation}, username: demo, api_key: demo-key, base_url: "{url}",
     start: 31d, sweeps: [], alert_backlog: true}}
log: {{level: warning, format: text}}
"""

# A kind from a set, a user wildcard, a cluster from a set and a description pattern, for the values of the listing.
RULE = """
title: rule {number}
name: rule_{number}
logsource: {{product: instaclustr, service: user_actions}}
detection:
  selection:
    actionKind: [{kinds}]
    userName: 'user{user}*@example.com'
    cluster.name: [{clusters}]
    description|re: 'action .*{number}$'
  condition: selection
"""


def main(url: str, organisation: str, folder: Path, variant: str) -> None:
    """Read the backlog into an empty store."""
    (folder / "rules").mkdir()
    if variant == "matched":
        (folder / "rules" / "all.yml").write_text("---".join(map(_rule, range(100))))
    config = folder / "actionwatch.yaml"
    config.write_text(CONFIG.format(url=url, organisation=organisation))
    settings = configuration.read_settings(config)
    app.set_up_logs(settings)
    service = app.App(settings)
    run = _stored if variant == "stored" else read_and_match
    measure(lambda: run(service))
    service.close()


def _stored(service: app.App) -> dict[str, int]:
    service.tails.begin(*service.tails.sources)
    for watch in service.tails.account_watches.values():  # first, as the service does; the first poll waits for it
        watch.run_once()
    report = next(iter(service.tails.steps.values())).run_once()
    assert report.error is None, report
    assert not report.unproved, report
    return {"records": report.new_count, "requests": report.request_count, "windows proved": report.proved_count}


def read_and_match(service: app.App) -> dict[str, int]:
    """Read the backlog while another thread matches what is stored, as the service does. Return what was done."""
    is_read = threading.Event()
    alerts = 0

    def match() -> None:
        nonlocal alerts
        while not is_read.is_set():
            service.record_signal.wait_for_records(1)
            alerts += service.matcher.run_once()
        alerts += service.matcher.run_once()

    service.matcher.run_once()
    matcher = threading.Thread(target=match)
    matcher.start()
    found = _stored(service)
    is_read.set()
    matcher.join()
    return {**found, "alerts": alerts}


def _rule(number: int) -> str:
    chance = random.Random(number)
    return RULE.format(
        number=number,
        kinds=", ".join(chance.sample(list(KINDS), 3)),
        user=chance.randrange(10),
        clusters=", ".join(f"synthetic-{value}" for value in chance.sample(range(50), 5)),
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])

"""How long from an action to its alert at a receiver: `python -m tests.benchmarks latency [MINUTES]`.

The real service runs with the shipped rules, and with the configuration of `init` except for the key and a webhook: it polls as
often as it does by default. Users of an emulated organisation delete clusters at random times, each another user. The emulator
shows an action at once; a real upstream adds its own delay.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd

PAUSE_SECONDS = 3.0  # between two actions, on average: each falls on another moment between two polls
LAST_SECONDS = 30.0  # for the last alerts
CONSOLE = "console: {}"  # the receiver in the configuration of `init`


def main(minutes: int = 5) -> None:
    """Print the median, the longest time, and how many alerts these are from."""
    soar, moments = kit.Soar(), random.Random(1)
    end = HttpEnd(soar.take)
    try:
        with tempfile.TemporaryDirectory() as name, kit.upstream(Path(name)) as upstream:
            folder = Path(name)
            kit.finished("init", folder=folder)
            webhook = (CONSOLE, f"webhook: {{url: '{end.url}', signing_key: {kit.KEY}}}")
            config = configured((folder / "actionwatch.yaml").read_text(), upstream, webhook)
            (folder / "latency.yaml").write_text(config)
            with kit.started("-c", "latency.yaml", "run", folder=folder, stderr=subprocess.DEVNULL):
                time.sleep(LAST_SECONDS)  # the first poll is over
                ends_at, count = time.monotonic() + minutes * 60, 0
                while time.monotonic() < ends_at:
                    time.sleep(moments.expovariate(1 / PAUSE_SECONDS))
                    count += 1
                    upstream.delete_cluster(f"user{count}@example.com")
                time.sleep(LAST_SECONDS)
    finally:
        end.close()
    times = [taken for arrival in soar.find(rule="cluster_deleted", type="alert.opened") if (taken := _taken(arrival))]
    print(
        f"  {len(times)} alerts of {count} actions: median {statistics.median(times):.1f} s, "
        f"9 of 10 within {statistics.quantiles(times, n=10)[-1]:.1f} s, longest {max(times):.1f} s"
    )


def configured(config: str, upstream: kit.Upstream, *more: tuple[str, str]) -> str:
    """Return the configuration that `init` writes, for an emulator, with other values."""
    for before, after in (
        ("${ACTIONWATCH_ORGANISATION_ID}", upstream.organisation_id),
        ("${ACTIONWATCH_USERNAME}", upstream.username),
        ("${ACTIONWATCH_API_KEY}", upstream.api_key),
        ("#base_url: https://api.instaclustr.com", f"base_url: {upstream.base_url}"),
        ("127.0.0.1:8080", "127.0.0.1:0"),
        *more,
    ):
        assert before in config, before
        config = config.replace(before, after)
    return config


def _taken(arrival: kit.Arrival) -> float:
    return arrival.at - datetime.fromisoformat(arrival.data["records"][-1]["timestamp"]).timestamp()

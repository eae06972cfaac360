"""How fast the tail stores, deduplicates and proves a backlog, and how much memory that takes.

`python -m tests.benchmarks tail [RECORDS]`
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.upstream import upstream

CLIENT = """
import resource, sys, time
from datetime import timedelta
from pathlib import Path
from actionwatch import app
from actionwatch.settings import Settings
folder, url, organisation = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
config = folder / "actionwatch.yaml"
(folder / "rules").mkdir(exist_ok=True)
config.write_text(f'''
sources:
  - {{name: bench, organisation_id: {organisation}, username: demo, api_key: demo-key, base_url: "{url}",
     start: 31d, sweeps: []}}
log: {{level: warning, format: text}}
''')
settings = app.read_settings(config)
app.set_up_logs(settings)
built = app.App(settings)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
report = built.tails[0].run_once()
seconds = time.perf_counter() - started
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cpu = resource.getrusage(resource.RUSAGE_SELF).ru_utime
print(report.new_count, seconds, before, after, report.request_count, report.proved_count, len(report.unproved), cpu)
built.close()
"""


def main(count: int = 1_000_000) -> None:
    """Print records a second, requests, peak memory."""
    with upstream(count) as served, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CLIENT, folder, served.url, served.organisation_id]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        new, seconds, before, after, requests, proved, unproved, cpu = out.stdout.split()
        size = sum(path.stat().st_size for path in Path(folder).glob("actionwatch.db*"))
    print(
        f"{int(new):,} records stored, deduplicated and proved in {float(seconds):.1f} s (CPU {float(cpu):.1f} s): "
        f"{int(new) / float(seconds):,.0f} records/s"
    )
    print(
        f"{requests} requests, {proved} windows proved, {unproved} not; peak memory {int(after) // 1024} MiB "
        f"({int(before) // 1024} MiB before), store {size // 1024**2} MiB"
    )
    if out.stderr:
        print(out.stderr)

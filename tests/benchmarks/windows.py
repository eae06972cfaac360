"""What a hit in an open window takes in memory: `python -m tests.benchmarks windows [RECORDS] [RATE] [MIX]`.

The matcher takes RECORDS records (100,000 by default) of RATE a second (500) from a real store, with the shipped rules, and all
time verified up to the newest. MIX says what they are: `worst` (the default) or `usual`, see `mixes.py`. Then all objects that
the process made meanwhile are counted, so that the machine does not matter.
"""

from __future__ import annotations

import gc
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actionwatch.rules.correlations.live.saved import SavedState, decode, encode

from actionwatch.base.model import Record
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import parse_page
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.engine import Engine
from actionwatch.store import records
from tests.benchmarks.growth import RULES
from tests.benchmarks.mixes import Mix
from tests.benchmarks.upstream import LATEST_MS, Listing
from tests.builders import open_database
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import see
from tests.unit.rules.builders import rules_in

SOURCE = "acme"
PAGE = 1000


def main(count: int = 100_000, rate: int = 500, mix: Mix = "worst") -> None:
    """Print what is held, and what it takes."""
    rules = rules_in("\n---\n".join(path.read_text() for path in sorted(RULES.glob("*.yml")))).rules
    with tempfile.TemporaryDirectory() as name:
        post = Post(open_database(Path(name)))
        correlating = Correlating(rules, post.addressing)
        step = RecordMatcher(post.database, Engine(rules), post.addressing, post.clock, correlating=correlating)
        pages = _pages(count, count / rate / timedelta(days=1).total_seconds(), mix)
        first = next(pages)
        begins = first[0].occurred_at
        _match(post, step, first, begins)
        gc.collect()
        used = time.process_time()
        tracemalloc.start()
        for page in pages:
            _match(post, step, page, begins)
        del page
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        used = time.process_time() - used
        correlator = correlating._correlator
        assert correlator is not None
        state = b"".join(encode(correlator.save()))
        hits = count_hits(decode(state))
        post.database.close()
        print(
            f"  {count:,} records, {hits:,} hits in windows of {len(correlator.rules)} rules: {held / 2**20:.1f} MiB, "
            f"{held / hits:.0f} bytes a hit, {held / count:.0f} bytes a record; a saved state of {len(state):,} bytes; "
            f"{used:.0f} s of CPU with the memory traced"
        )


def count_hits(state: SavedState) -> int:
    """Count the hits that each rule holds."""
    groups = (group for rule in state.rules for group in rule.groups)
    return sum(len(hits) for group in groups for hits in (group.hits, *group.base.windows))


def _match(post: Post, step: RecordMatcher, page: Sequence[Record], begins: datetime) -> None:
    with post.database.write() as connection:
        records.insert_new(connection, page)
    see(post.database, page[-1].occurred_at, name=SOURCE, begins=begins, alerts_from=begins)
    step.run_once()


def _pages(count: int, days: float, mix: Mix) -> Iterator[Sequence[Record]]:
    """Yield the records of an emulated organisation, oldest first."""
    listing = Listing(count, days, timedelta(0), mix)
    reader = RecordReader(SOURCE, organisation_id=listing.organisation_id)
    for offset in range(count - PAGE, -1, -PAGE):
        body = listing.page(0, LATEST_MS, offset, PAGE, with_counts=False)
        yield parse_page(body, reader, datetime.now(UTC)).records[::-1]

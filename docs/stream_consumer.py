"""Prove that a stream of records is complete, or name what is missing: `… | python stream_consumer.py`.

Reads one message of the format `actionwatch` from each line of standard input. A message may come twice, under the same id.
"""

import hashlib
import json
import sys

keys: dict[tuple[str, int], str] = {}  # source and offset -> key of the record

for line in sys.stdin:
    message = json.loads(line)
    data = message["data"]
    if message["type"] == "record":
        keys[data["source"], message["offset"]] = data["key"]
    elif message["type"] in ("stream.complete_through", "stream.amended"):
        source = data["source"]
        wanted = [offset for first, last in data["offsets"] for offset in range(first, last + 1)]
        missing = [offset for offset in wanted if (source, offset) not in keys]
        found = sorted(keys[source, offset] for offset in wanted if offset not in missing)
        is_same = hashlib.sha256("\n".join(found).encode()).hexdigest() == data["digest"]
        verdict = f"complete, records: {data['count']}" if is_same else f"INCOMPLETE, missing offsets {missing}"
        print(f"{source} {data['starts_at']} to {data['ends_at']}: {verdict}", flush=True)

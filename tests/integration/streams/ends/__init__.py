"""The far end of each driver, and how to start it in an empty folder. A type with variants has several: `files s3`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.integration.streams.end import End
from tests.integration.streams.ends.files import BucketEnd, FolderEnd
from tests.integration.streams.ends.http import LinesEnd
from tests.integration.streams.ends.kafka import KafkaEnd
from tests.integration.streams.ends.redis import RedisEnd
from tests.integration.streams.ends.splunk import SplunkEnd
from tests.integration.streams.ends.syslog import SyslogEnd

ENDS: Mapping[str, Callable[[Path], End]] = {
    "files": FolderEnd,
    "files s3": BucketEnd,
    "http": LinesEnd,
    "http hec": SplunkEnd,
    "kafka": KafkaEnd,
    "redis": RedisEnd,
    "syslog": SyslogEnd,
}

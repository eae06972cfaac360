"""Check that the disk has room for the store."""

from __future__ import annotations

import shutil
from pathlib import Path

from actionwatch.alerts.self_alerts import SelfAlerts

_LOW_BYTES = 1024**3  # less free space than this is reported, or less than _LOW_SHARE of a small disk
_LOW_SHARE = 0.05
REMEDY = "free space, move store.url, or shorten store.retention: actionwatch cannot watch what it cannot store"


def check_disk(
    store: Path, self_alerts: SelfAlerts, low_bytes: int = _LOW_BYTES, low_share: float = _LOW_SHARE
) -> None:
    """Report a disk with little room for the store. The log reports it too, because a full disk stores no alert."""
    what = find_shortage(store, low_bytes, low_share)
    self_alerts.settle_others(
        "store_nearly_full",
        {store.name} if what else set(),
        lambda name: "" if name == store.name else f"the store is {store.name} now",
    )
    if what is None:
        return
    import structlog  # only here: `status` imports this module, and logs nothing

    structlog.get_logger().error("store_nearly_full", store=str(store), what=what)
    self_alerts.report("store_nearly_full", store.name, what, REMEDY)


def find_shortage(store: Path, low_bytes: int = _LOW_BYTES, low_share: float = _LOW_SHARE) -> str | None:
    """Describe how little room is left for the store, or return None if it is enough."""
    usage = shutil.disk_usage(store.parent)
    if usage.free >= min(low_bytes, int(usage.total * low_share)):
        return None
    return f"only {usage.free // 1024**2} MiB are free on the disk of {store.name}"

"""Report templates that fail when a message is written, although they passed the check with samples when they were loaded.

The message is sent with another text. When the templates change while a process runs, it settles the self-alert itself;
`service/template_files.py` does that for a process that has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.errors import Fault
from actionwatch.delivery.receiver_worker import Attempt, MessageRenderer

TROUBLE = "template_failing"
CHANGED = "the templates were changed"
_REMEDY = (
    "fix the template: it is loaded within a second; 'actionwatch explain' of an alert shows which of its messages failed. "
    "Until then such messages use the shipped template or a plain text"
)


class TemplateWatch:
    """Collects the failures of attempts, and reports them. Only the delivery worker's thread uses it."""

    def __init__(self, renderer: MessageRenderer, self_alerts: SelfAlerts) -> None:
        self._renderer = renderer
        self._self_alerts = self_alerts
        self._version: int | None = None
        """The version of the renderer when this was called last."""
        self._failures: dict[str, tuple[Fault, int]] = {}
        """The last failure of each file, and the version of the renderer that it is about."""

    def note(self, attempts: Sequence[Attempt]) -> None:
        """Collect the failures of attempts that were recorded."""
        for each in attempts:
            self._failures |= {fault.file: (fault, each.templates_version) for fault in each.render_failures}

    def report(self) -> None:
        """Report the failures of the templates in use, and settle what was reported about those before.

        Raises: StoreError; the next call reports them again.
        """
        self._settle_changed()
        for fault, seen in self._failures.values():
            if seen == self._version:
                self._self_alerts.report(TROUBLE, fault.file, f"a message could not be written: {fault}", _REMEDY)
        self._settle_changed()  # they may have changed meanwhile
        self._failures = {}

    def _settle_changed(self) -> None:
        version = self._renderer.version
        if self._version not in (None, version):
            self._self_alerts.settle_others(TROUBLE, set(), lambda _: CHANGED)
        self._version = version

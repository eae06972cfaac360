"""The self-alerts about one source, with their remedies."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from actionwatch.alerts.self_alerts import SelfAlerts

REMEDIES = {
    "clock_skew": "set this machine's clock (NTP), or ask the vendor. Records are read and matched, but nothing is proved "
    "beyond the earlier of the two times (5 minutes are tolerated)",
    "filter_ignored": "nothing is lost: actionwatch filters the responses again, but polls cost more. Inform the vendor",
    "mark_ahead": "records after the last valid proof are read again; check this machine's clock (NTP). Resolves by itself",
    "proof_lagging": "'actionwatch status' and the log show the reason; records are still stored and matched",
    "records_cut": "look at them in the console of the vendor, and ask the vendor why they are this large. Resolves by itself",
    "unknown_field": "look at one of the records ('actionwatch records list -o json'); if a known field has a new name, add "
    "it to field_aliases",
    "unknown_kind": "decide whether rules should watch them, then add them to extra_kinds in the configuration",
    "window_unproved": "'actionwatch records proof' lists the windows and the reasons; they are read again each hour; run "
    "'actionwatch check --live'",
    "window_shrunk": "the store still has the records ('actionwatch records list'): ask the vendor whether a person or "
    "retention deleted them",
}


class SourceAlerts:
    """Opens and ends the self-alerts about one source. Only the thread that polls the source uses it."""

    def __init__(self, source: str, self_alerts: SelfAlerts) -> None:
        self._source = source
        self._self_alerts = self_alerts
        self._ended: list[str] = []

    def begin_poll(self, ended: Sequence[str]) -> None:
        """Forget what a poll before found to be over; these troubles are over as soon as there are responses."""
        self._ended = [*ended]

    def report(self, trouble: str, what: str, remedy: str | None = None) -> None:
        """Open the alert of a trouble, if it is not open. Without a remedy, it gets the one in `REMEDIES`."""
        self._self_alerts.report(trouble, self._source, what, REMEDIES[trouble] if remedy is None else remedy)

    def update(self, trouble: str, what: str) -> None:
        """Change what an open alert says."""
        self._self_alerts.update(trouble, self._source, what)

    def report_news(self, trouble: str, what: str, *, is_new: bool = True) -> None:
        """Open the alert of a trouble, or change what the open one says; without anything new, only the latter."""
        if is_new:
            self.report(trouble, what)
        self.update(trouble, what)

    def set(self, trouble: str, what: str, *, is_wrong: bool) -> None:
        """Open the alert of a trouble, or let it end."""
        if is_wrong:
            self.report(trouble, what)
        else:
            self.end(trouble)

    def end(self, trouble: str) -> None:
        """Let the next `settle_ended` end the alert of a trouble."""
        self._ended.append(trouble)

    def settle_ended(self, opened: Collection[str]) -> None:
        """End what is over, of the troubles that were open when the poll ended: nearly always none."""
        for trouble in self._ended:
            if trouble in opened:
                self._self_alerts.settle_trouble(trouble, self._source)

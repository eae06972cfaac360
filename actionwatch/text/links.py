"""The URLs of the console's pages in messages, so that people can open them and paste them into a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urljoin


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the URLs. `console` is the console's public address without a path; None: messages have no links."""

    console: str | None = None

    def of_alert(self, alert_id: str) -> dict[str, str]:
        """Return what the documents of a message say about the page of an alert: `url`, or nothing."""
        # A damaged store may hold any id.
        return self._at(f"/alerts/{quote(alert_id, safe='', errors='replace')}")

    def of_list(self) -> dict[str, str]:
        """Return the same about the list of alerts."""
        return self._at("/alerts")

    def _at(self, path: str) -> dict[str, str]:
        return {} if self.console is None else {"url": f"{self.console}{path}"}


NO_LINKS = Links()


def console_of(url: str | None) -> str:
    """Return the address of the console that a link of a message leads to; empty without a link."""
    return urljoin(url, "/").rstrip("/") if url else ""

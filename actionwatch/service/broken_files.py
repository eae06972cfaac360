"""The self-alerts about files that are broken: one for each file, regardless of the number of faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.errors import Fault

_TROUBLE = "rule_broken"


class BrokenFiles:
    """Opens and ends these self-alerts. Safe to share between threads."""

    def __init__(self, self_alerts: SelfAlerts) -> None:
        self._self_alerts = self_alerts

    def report(self, broken: Mapping[str, str]) -> None:
        """Report files, each with what is wrong."""
        for file, what in broken.items():
            remedy = "fix the file; 'actionwatch check' shows what is wrong and where"
            self._self_alerts.report(_TROUBLE, file, what, remedy)

    def report_silences(self, faults: Sequence[Fault]) -> None:
        """Report what is wrong in files of silences."""
        for fault in faults:
            remedy = "fix the file; its last good content is used until then"
            self._self_alerts.report(_TROUBLE, fault.file, str(fault), remedy)

    def settle_file(self, file: str) -> None:
        """Report that nothing is wrong with a file now."""
        self._self_alerts.settle_trouble(_TROUBLE, file, _why_fixed(file))

    def settle_others(self, broken: set[str]) -> None:
        """Report that nothing is wrong with all files except these."""
        self._self_alerts.settle_others(_TROUBLE, broken, _why_fixed)

    def refuse_configuration(self, config: Path, faults: Sequence[Fault]) -> None:
        """Report that a configuration is broken and the previous one stays in use."""
        own = [fault for fault in faults if fault.file == str(config)]
        others = [str(fault) for fault in faults if fault.file != str(config)]  # in files of sources
        what = "; ".join([*([spell_faults(own)] if own else []), *others])
        self.report({str(config): f"{what}. The previous configuration stays in use"})

    def accept_configuration(self, config: Path) -> None:
        """Report that the configuration is valid again."""
        self._self_alerts.settle_trouble(_TROUBLE, str(config))


def _why_fixed(file: str) -> str:
    """Return why nothing is wrong with a file now, unless it was fixed."""
    return "" if Path(file).exists() else "the file was removed"


def spell_faults(faults: Sequence[Fault]) -> str:
    """Return the faults of one file, each with its line."""
    return "; ".join(f"line {fault.line}: {fault.what}" if fault.line else fault.what for fault in faults)

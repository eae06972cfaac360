"""Subjects of self-alerts that name the replica that has the problem."""

from __future__ import annotations

from collections.abc import Callable, Collection

from actionwatch.alerts.self_alerts import OwnAlerts, is_placed, placed

ID = "3f9ac1d2e4b5a697"


class Reported:
    """Keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Keep the call."""
        self.calls.append(("report", trouble, subject, what, remedy))

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Keep the call."""
        self.calls.append(("update", trouble, subject, what))

    def settle_trouble(self, trouble: str, subject: str, why: str = "") -> None:
        """Keep the call."""
        self.calls.append(("settle", trouble, subject, why))

    def settle_all(self, ended: Collection[tuple[str, str]]) -> None:
        """Keep the call."""
        self.calls.append(("settle_all", *(name for each in ended for name in each)))

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = lambda _: "") -> None:
        """Keep the call."""
        self.calls.append(("settle_others", trouble, *subjects, why("")))


def test_subject_names_the_replica() -> None:
    """The subject of a replica's problem names its host and the beginning of its id."""
    subject = placed("deliver", "web-1", ID)
    assert subject == "deliver on replica web-1 (3f9ac1)"
    assert is_placed(subject)
    assert is_placed(subject, [ID])
    assert not is_placed(subject, ["90b2d7aaaaaaaaaa"])
    assert not is_placed("deliver")
    assert not is_placed("a file on replica of mine.yml")


def test_own_alerts_are_about_this_replica() -> None:
    """A replica reports, updates and settles only its own problems, never those of the others."""
    reported = Reported()
    own = OwnAlerts(reported, "web-1", ID)
    own.report("step_failing", "deliver", "failed", "look")
    own.update("step_failing", "deliver", "failed twice")
    own.settle_trouble("step_failing", "deliver")
    own.settle_all([("step_failing", "deliver"), ("store_nearly_full", "deliver")])
    own.settle_others("step_failing", {"reload"})
    subject = "deliver on replica web-1 (3f9ac1)"
    assert reported.calls == [
        ("report", "step_failing", subject, "failed", "look"),
        ("update", "step_failing", subject, "failed twice"),
        ("settle", "step_failing", subject, ""),
    ]


def test_own_alerts_that_are_left_are_settled() -> None:
    """`settle_others` settles what this replica has reported and not settled, and nothing of another kind."""
    reported = Reported()
    own = OwnAlerts(reported, "web-1", ID)
    for trouble, subject in (("template_failing", "a"), ("template_failing", "b"), ("step_failing", "c")):
        own.report(trouble, subject, "failed", "look")
    own.settle_trouble("template_failing", "a")
    own.report("template_failing", "d", "failed", "look")
    own.report("template_failing", "e", "failed", "look")
    own.settle_all([("template_failing", "e"), ("step_failing", "e")])
    reported.calls.clear()
    own.settle_others("template_failing", {"d"}, lambda subject: f"{subject} changed")
    own.settle_others("template_failing", {"d"})
    assert reported.calls == [("settle", "template_failing", "b on replica web-1 (3f9ac1)", "b changed")]

"""The catalogue of kinds."""

from collections import Counter

import pytest

from actionwatch.instaclustr.kinds import KINDS, OPERATIONS, normalise_kind, severity_of


def test_catalogue_is_complete() -> None:
    """The catalogue has the 81 documented kinds, in ten areas."""
    assert len(KINDS) == 81
    assert len({kind.area for kind in KINDS.values()}) == 10
    assert Counter(kind.scope for kind in KINDS.values()) == {"account": 65, "organisation": 16}
    for name, kind in KINDS.items():
        assert name == kind.name == normalise_kind(name)
        assert kind.operation in OPERATIONS
        assert kind.severity in ("info", "low", "medium", "high", "critical")


@pytest.mark.parametrize(
    ("name", "scope", "operation", "severity"),
    [
        ("UNLINK_ACCOUNT", "organisation", "DELETE", "critical"),
        ("ORGANISATION_GENERATE_API_KEY", "organisation", "CREATE", "critical"),
        ("LIST_KAFKA_ACLS", "account", "READ", "info"),
        ("RESTORE", "account", "CREATE", "high"),
        ("ADMIN_SET_ACCESS_LEVEL", "account", "UPDATE", "critical"),
    ],
)
def test_kind_has_the_specified_properties(name: str, scope: str, operation: str, severity: str) -> None:
    """Scope, operation and severity are those of the specification."""
    kind = KINDS[name]
    assert (kind.scope, kind.operation, kind.severity) == (scope, operation, severity)


def test_unknown_kind_has_medium_severity() -> None:
    """The vendor records more kinds than it documents; they have medium severity."""
    assert severity_of("USER_LOGIN") == "medium"
    assert severity_of("DELETE_CLUSTER") == "critical"


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("CREATE_CLUSTER", "CREATE_CLUSTER"),
        ("Create cluster", "CREATE_CLUSTER"),
        (" create-cluster\n", "CREATE_CLUSTER"),
        ("Create  Kafka\tACLs", "CREATE_KAFKA_ACLS"),
        ("", ""),
    ],
)
def test_labels_become_kinds(label: str, kind: str) -> None:
    """A label becomes a kind: trimmed, in capitals, with underscores for blanks and hyphens."""
    assert normalise_kind(label) == kind

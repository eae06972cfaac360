"""The catalogue of the 81 documented action kinds.

Source: the vendor's API reference lists the kinds and their scope. Operation and severity are assessments of this
project; the operation in a record takes precedence. The vendor logs more kinds than it documents. They have the severity
medium, and no operation and scope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_UNKNOWN_SEVERITY = "medium"
UNNAMED_KIND = "UNKNOWN"  # the kind of a record without one, which is stored and matched like any other
OPERATIONS = ("CREATE", "READ", "UPDATE", "DELETE")
ORGANISATION = "organisation"
ACCOUNT = "account"

_BLANKS = re.compile(r"[\s\-]+")


class ActionKind(NamedTuple):
    """One documented kind. `severity` is one of info, low, medium, high, critical."""

    name: str
    area: str
    scope: str
    operation: str
    severity: str


def normalise_kind(text: str) -> str:
    """Convert a kind or its label (`Create cluster`) to the form of the catalogue: `CREATE_CLUSTER`."""
    return _BLANKS.sub("_", text.strip()).upper()


def severity_of(kind: str) -> str:
    known = KINDS.get(kind)
    return known.severity if known else _UNKNOWN_SEVERITY


_ORGANISATION = "Organization, accounts, billing"
_ORGANISATION_USERS = "Organization users, identity provider, sign-up controls"
_ACCOUNT_USERS = "Account users and service / SCIM users"
_KEYS = "API keys and encryption keys"
_CLUSTERS = "Cluster lifecycle and operations"
_NETWORK = "Network"
_KAFKA = "Kafka"
_BUNDLE_USERS = "Bundle (database) users"
_BACKUPS = "Backup and restore"
_ADMIN = "Admin operations"

_TABLE = (
    ActionKind("CREATE_ORGANISATION", _ORGANISATION, ORGANISATION, "CREATE", "medium"),
    ActionKind("LINK_ACCOUNT", _ORGANISATION, ORGANISATION, "CREATE", "high"),
    ActionKind("UNLINK_ACCOUNT", _ORGANISATION, ORGANISATION, "DELETE", "critical"),
    ActionKind("MIGRATE_CLUSTER", _ORGANISATION, ORGANISATION, "UPDATE", "high"),
    ActionKind("ORGANISATION_UPDATE_BILLING_DETAILS", _ORGANISATION, ORGANISATION, "UPDATE", "medium"),
    ActionKind("SYNC_BILLING_TO_ACCOUNT", _ORGANISATION, ORGANISATION, "UPDATE", "low"),
    ActionKind("ORGANISATION_SET_IDP_DETAILS", _ORGANISATION_USERS, ORGANISATION, "UPDATE", "critical"),
    ActionKind("SYNC_IDP_TO_ACCOUNT", _ORGANISATION_USERS, ORGANISATION, "UPDATE", "high"),
    ActionKind("UPDATE_SSO_LOGIN_TYPE", _ORGANISATION_USERS, ACCOUNT, "UPDATE", "critical"),
    ActionKind("INVITE_USER", _ORGANISATION_USERS, ORGANISATION, "CREATE", "high"),
    ActionKind("REVOKE_USER_INVITE", _ORGANISATION_USERS, ORGANISATION, "DELETE", "low"),
    ActionKind("LINK_USER", _ORGANISATION_USERS, ORGANISATION, "CREATE", "high"),
    ActionKind("UNLINK_USER", _ORGANISATION_USERS, ORGANISATION, "DELETE", "medium"),
    ActionKind("CREATE_SIGNUP_BLOCK", _ORGANISATION_USERS, ORGANISATION, "CREATE", "low"),
    ActionKind("DELETE_SIGNUP_BLOCK", _ORGANISATION_USERS, ORGANISATION, "DELETE", "high"),
    ActionKind("ACCOUNT_INVITE_USER", _ACCOUNT_USERS, ACCOUNT, "CREATE", "medium"),
    ActionKind("ACCOUNT_ACCEPT_INVITATION", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "low"),
    ActionKind("ACCOUNT_REVOKE_INVITATION", _ACCOUNT_USERS, ACCOUNT, "DELETE", "low"),
    ActionKind("ACCOUNT_CREATE_LINK", _ACCOUNT_USERS, ACCOUNT, "CREATE", "high"),
    ActionKind("ACCOUNT_MODIFY_LINK", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "high"),
    ActionKind("ACCOUNT_REVOKE_LINK", _ACCOUNT_USERS, ACCOUNT, "DELETE", "medium"),
    ActionKind("CREATE_SERVICE_USER", _ACCOUNT_USERS, ACCOUNT, "CREATE", "high"),
    ActionKind("DEACTIVATE_SERVICE_USER", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("REACTIVATE_SERVICE_USER", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "high"),
    ActionKind("DEACTIVATE_SCIM_USER", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "low"),
    ActionKind("REACTIVATE_SCIM_USER", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "high"),
    ActionKind("DEACTIVATE_USER", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("ORGANISATION_GENERATE_API_KEY", _KEYS, ORGANISATION, "CREATE", "critical"),
    ActionKind("ORGANISATION_REVOKE_API_KEY", _KEYS, ORGANISATION, "DELETE", "high"),
    ActionKind("ACCOUNT_GENERATE_API_KEY", _KEYS, ACCOUNT, "CREATE", "high"),
    ActionKind("ACCOUNT_REVOKE_API_KEY", _KEYS, ACCOUNT, "DELETE", "medium"),
    ActionKind("ACCOUNT_ADD_ENCRYPTION_KEY", _KEYS, ACCOUNT, "CREATE", "medium"),
    ActionKind("ACCOUNT_UPDATE_REGIONS_ENCRYPTION_KEY", _KEYS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("ACCOUNT_REVOKE_ENCRYPTION_KEY", _KEYS, ACCOUNT, "DELETE", "critical"),
    ActionKind("CREATE_CLUSTER", _CLUSTERS, ACCOUNT, "CREATE", "medium"),
    ActionKind("REQUEST_CLUSTER_DELETE", _CLUSTERS, ACCOUNT, "DELETE", "critical"),
    ActionKind("DELETE_CLUSTER", _CLUSTERS, ACCOUNT, "DELETE", "critical"),
    ActionKind("ADD_NODE", _CLUSTERS, ACCOUNT, "CREATE", "low"),
    ActionKind("ADD_DATA_CENTRE", _CLUSTERS, ACCOUNT, "CREATE", "medium"),
    ActionKind("CHANGE_CLUSTER_SETTINGS", _CLUSTERS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("RESIZE_CDC", _CLUSTERS, ACCOUNT, "UPDATE", "low"),
    ActionKind("CANCEL_RESIZE_CDC", _CLUSTERS, ACCOUNT, "UPDATE", "low"),
    ActionKind("RETRY_RESIZE_CDC", _CLUSTERS, ACCOUNT, "UPDATE", "info"),
    ActionKind("RESTART_BUNDLE", _CLUSTERS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("RECONFIGURE_BUNDLE", _CLUSTERS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("RELOAD_BUNDLE", _CLUSTERS, ACCOUNT, "UPDATE", "low"),
    ActionKind("MIGRATE_FROM_AZURE_TO_AZUREAZ", _CLUSTERS, ACCOUNT, "UPDATE", "low"),
    ActionKind("MANAGED_IDENTITY_MIGRATION_ENABLE", _CLUSTERS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("MANAGED_IDENTITY_MIGRATION_DISABLE", _CLUSTERS, ACCOUNT, "UPDATE", "medium"),
    ActionKind("CHANGE_CLUSTER_FIREWALL_RULES", _NETWORK, ACCOUNT, "UPDATE", "high"),
    ActionKind("CREATE_VPC_PEERING_REQUEST", _NETWORK, ACCOUNT, "CREATE", "high"),
    ActionKind("EDIT_VPC_PEERING_REQUEST", _NETWORK, ACCOUNT, "UPDATE", "medium"),
    ActionKind("DELETE_VPC_PEERING_REQUEST", _NETWORK, ACCOUNT, "DELETE", "medium"),
    ActionKind("PRIVATE_LINK_MIGRATION_ENABLE", _NETWORK, ACCOUNT, "UPDATE", "medium"),
    ActionKind("PRIVATE_LINK_MIGRATION_DISABLE", _NETWORK, ACCOUNT, "UPDATE", "medium"),
    ActionKind("CREATE_KAFKA_TOPIC", _KAFKA, ACCOUNT, "CREATE", "info"),
    ActionKind("DISPLAY_KAFKA_TOPIC_CONFIG", _KAFKA, ACCOUNT, "READ", "info"),
    ActionKind("DESCRIBE_KAFKA_TOPIC", _KAFKA, ACCOUNT, "READ", "info"),
    ActionKind("EDIT_KAFKA_TOPIC", _KAFKA, ACCOUNT, "UPDATE", "low"),
    ActionKind("DELETE_KAFKA_TOPIC", _KAFKA, ACCOUNT, "DELETE", "high"),
    ActionKind("LIST_KAFKA_ACLS", _KAFKA, ACCOUNT, "READ", "info"),
    ActionKind("CREATE_KAFKA_ACLS", _KAFKA, ACCOUNT, "CREATE", "high"),
    ActionKind("DELETE_KAFKA_ACLS", _KAFKA, ACCOUNT, "DELETE", "medium"),
    ActionKind("ENABLE_KAFKA_TIERED_STORAGE", _KAFKA, ACCOUNT, "UPDATE", "low"),
    ActionKind("LIST_BUNDLE_USERS", _BUNDLE_USERS, ACCOUNT, "READ", "low"),
    ActionKind("CREATE_BUNDLE_USER", _BUNDLE_USERS, ACCOUNT, "CREATE", "high"),
    ActionKind("EDIT_BUNDLE_USER", _BUNDLE_USERS, ACCOUNT, "UPDATE", "high"),
    ActionKind("DELETE_BUNDLE_USER", _BUNDLE_USERS, ACCOUNT, "DELETE", "medium"),
    ActionKind("BACKUP", _BACKUPS, ACCOUNT, "CREATE", "info"),
    ActionKind("RESTORE", _BACKUPS, ACCOUNT, "CREATE", "high"),
    ActionKind("CREATE_BACKUP_SCHEDULE", _BACKUPS, ACCOUNT, "CREATE", "low"),
    ActionKind("DELETE_BACKUP_SCHEDULE", _BACKUPS, ACCOUNT, "DELETE", "high"),
    ActionKind("ADMIN_SET_ACCESS_LEVEL", _ADMIN, ACCOUNT, "UPDATE", "critical"),
    ActionKind("ADMIN_ADD_CONFIG_OVERRIDE", _ADMIN, ACCOUNT, "CREATE", "medium"),
    ActionKind("ADMIN_DELETE_CONFIG_OVERRIDE", _ADMIN, ACCOUNT, "DELETE", "medium"),
    ActionKind("ADMIN_ADD_KAFKA_LISTENER", _ADMIN, ACCOUNT, "CREATE", "high"),
    ActionKind("ADMIN_DELETE_KAFKA_LISTENER", _ADMIN, ACCOUNT, "DELETE", "medium"),
    ActionKind("ADMIN_ADD_KAFKA_PRIVATE_LINK_LISTENER", _ADMIN, ACCOUNT, "CREATE", "high"),
    ActionKind("ADMIN_DELETE_KAFKA_PRIVATE_LINK_LISTENER", _ADMIN, ACCOUNT, "DELETE", "medium"),
    ActionKind("ADMIN_ADD_KAFKA_PRIVATE_LINK_IAM_ROLE", _ADMIN, ACCOUNT, "CREATE", "high"),
    ActionKind("ADMIN_DELETE_KAFKA_PRIVATE_LINK_IAM_ROLE", _ADMIN, ACCOUNT, "DELETE", "medium"),
)

KINDS: Mapping[str, ActionKind] = {kind.name: kind for kind in _TABLE}

OWN_KINDS: Mapping[str, tuple[str, str, str]] = {
    "_LINKED_ACCOUNT_ADDED": ("CREATE", "high", "Account {name} is linked to the organisation now"),
    "_LINKED_ACCOUNT_REMOVED": (
        "DELETE",
        "critical",
        "Account {name} is no longer linked: actionwatch no longer sees its actions",
    ),
    "_LINKED_ACCOUNT_RENAMED": ("UPDATE", "low", "Account {before} is called {name} now"),
    "_LINKED_ACCOUNT_IDP_SYNC_LOST": (
        "UPDATE",
        "high",
        "Account {name} no longer follows the organisation's identity provider",
    ),
}
"""Kinds of records that actionwatch creates for changes that the upstream does not log: operation, severity, description."""

"""The catalogue of the 81 documented action kinds with their meaning and severity.

Source: the vendor's API reference lists the kinds and their scope. Operation, severity and meaning are assessments of this
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
    """One documented kind. `meaning` is a sentence for people; `severity` is one of info, low, medium, high, critical."""

    name: str
    area: str
    scope: str
    operation: str
    severity: str
    meaning: str


def normalise_kind(text: str) -> str:
    """Convert a kind or its label (`Create cluster`) to the form of the catalogue: `CREATE_CLUSTER`."""
    return _BLANKS.sub("_", text.strip()).upper()


def severity_of(kind: str) -> str:
    """Return the severity of a kind, known or unknown."""
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
    ActionKind("CREATE_ORGANISATION", _ORGANISATION, ORGANISATION, "CREATE", "medium", "The organisation was created."),
    ActionKind(
        "LINK_ACCOUNT",
        _ORGANISATION,
        ORGANISATION,
        "CREATE",
        "high",
        "An account joined the organisation, with its users, clusters and billing.",
    ),
    ActionKind(
        "UNLINK_ACCOUNT",
        _ORGANISATION,
        ORGANISATION,
        "DELETE",
        "critical",
        "An account left the organisation; what happens there no longer shows in this log.",
    ),
    ActionKind(
        "MIGRATE_CLUSTER",
        _ORGANISATION,
        ORGANISATION,
        "UPDATE",
        "high",
        "A cluster moved from one account to another, so other people can reach it.",
    ),
    ActionKind(
        "ORGANISATION_UPDATE_BILLING_DETAILS",
        _ORGANISATION,
        ORGANISATION,
        "UPDATE",
        "medium",
        "The organisation's billing details were changed.",
    ),
    ActionKind(
        "SYNC_BILLING_TO_ACCOUNT",
        _ORGANISATION,
        ORGANISATION,
        "UPDATE",
        "low",
        "The organisation's billing details were passed on to an account.",
    ),
    ActionKind(
        "ORGANISATION_SET_IDP_DETAILS",
        _ORGANISATION_USERS,
        ORGANISATION,
        "UPDATE",
        "critical",
        "The identity provider that vouches for the organisation's users was set or replaced.",
    ),
    ActionKind(
        "SYNC_IDP_TO_ACCOUNT",
        _ORGANISATION_USERS,
        ORGANISATION,
        "UPDATE",
        "high",
        "The organisation's single sign-on settings were passed on to an account.",
    ),
    ActionKind(
        "UPDATE_SSO_LOGIN_TYPE",
        _ORGANISATION_USERS,
        ACCOUNT,
        "UPDATE",
        "critical",
        "The way users must sign in was changed; single sign-on may have been switched off.",
    ),
    ActionKind(
        "INVITE_USER", _ORGANISATION_USERS, ORGANISATION, "CREATE", "high", "Somebody was invited to the organisation."
    ),
    ActionKind(
        "REVOKE_USER_INVITE",
        _ORGANISATION_USERS,
        ORGANISATION,
        "DELETE",
        "low",
        "An invitation to the organisation was withdrawn.",
    ),
    ActionKind(
        "LINK_USER", _ORGANISATION_USERS, ORGANISATION, "CREATE", "high", "A user was given access to the organisation."
    ),
    ActionKind(
        "UNLINK_USER",
        _ORGANISATION_USERS,
        ORGANISATION,
        "DELETE",
        "medium",
        "A user's access to the organisation was taken away.",
    ),
    ActionKind(
        "CREATE_SIGNUP_BLOCK",
        _ORGANISATION_USERS,
        ORGANISATION,
        "CREATE",
        "low",
        "An e-mail domain was barred from signing up by itself.",
    ),
    ActionKind(
        "DELETE_SIGNUP_BLOCK",
        _ORGANISATION_USERS,
        ORGANISATION,
        "DELETE",
        "high",
        "An e-mail domain may sign up by itself again.",
    ),
    ActionKind(
        "ACCOUNT_INVITE_USER", _ACCOUNT_USERS, ACCOUNT, "CREATE", "medium", "Somebody was invited to an account."
    ),
    ActionKind(
        "ACCOUNT_ACCEPT_INVITATION",
        _ACCOUNT_USERS,
        ACCOUNT,
        "UPDATE",
        "low",
        "An invitation to an account was accepted.",
    ),
    ActionKind(
        "ACCOUNT_REVOKE_INVITATION",
        _ACCOUNT_USERS,
        ACCOUNT,
        "DELETE",
        "low",
        "An invitation to an account was withdrawn.",
    ),
    ActionKind(
        "ACCOUNT_CREATE_LINK", _ACCOUNT_USERS, ACCOUNT, "CREATE", "high", "A user was given a role on an account."
    ),
    ActionKind(
        "ACCOUNT_MODIFY_LINK", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "high", "A user's role on an account was changed."
    ),
    ActionKind(
        "ACCOUNT_REVOKE_LINK",
        _ACCOUNT_USERS,
        ACCOUNT,
        "DELETE",
        "medium",
        "A user's role on an account was taken away.",
    ),
    ActionKind(
        "CREATE_SERVICE_USER",
        _ACCOUNT_USERS,
        ACCOUNT,
        "CREATE",
        "high",
        "A service user, an identity for programs that can hold API keys, was created.",
    ),
    ActionKind(
        "DEACTIVATE_SERVICE_USER", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "medium", "A service user was switched off."
    ),
    ActionKind(
        "REACTIVATE_SERVICE_USER",
        _ACCOUNT_USERS,
        ACCOUNT,
        "UPDATE",
        "high",
        "A service user that had been switched off may act again.",
    ),
    ActionKind(
        "DEACTIVATE_SCIM_USER",
        _ACCOUNT_USERS,
        ACCOUNT,
        "UPDATE",
        "low",
        "A user managed by the identity provider was switched off.",
    ),
    ActionKind(
        "REACTIVATE_SCIM_USER",
        _ACCOUNT_USERS,
        ACCOUNT,
        "UPDATE",
        "high",
        "A user managed by the identity provider, once switched off, may sign in again.",
    ),
    ActionKind("DEACTIVATE_USER", _ACCOUNT_USERS, ACCOUNT, "UPDATE", "medium", "A user was switched off."),
    ActionKind(
        "ORGANISATION_GENERATE_API_KEY",
        _KEYS,
        ORGANISATION,
        "CREATE",
        "critical",
        "An organisation API key was made: it can read everything, create accounts and unlink them.",
    ),
    ActionKind(
        "ORGANISATION_REVOKE_API_KEY",
        _KEYS,
        ORGANISATION,
        "DELETE",
        "high",
        "An organisation API key was revoked; it may be the one this service uses.",
    ),
    ActionKind("ACCOUNT_GENERATE_API_KEY", _KEYS, ACCOUNT, "CREATE", "high", "An API key for an account was made."),
    ActionKind("ACCOUNT_REVOKE_API_KEY", _KEYS, ACCOUNT, "DELETE", "medium", "An API key for an account was revoked."),
    ActionKind(
        "ACCOUNT_ADD_ENCRYPTION_KEY", _KEYS, ACCOUNT, "CREATE", "medium", "An encryption key was added to an account."
    ),
    ActionKind(
        "ACCOUNT_UPDATE_REGIONS_ENCRYPTION_KEY",
        _KEYS,
        ACCOUNT,
        "UPDATE",
        "medium",
        "The regions of an account's encryption key were changed.",
    ),
    ActionKind(
        "ACCOUNT_REVOKE_ENCRYPTION_KEY",
        _KEYS,
        ACCOUNT,
        "DELETE",
        "critical",
        "An account's encryption key was revoked; data under it may become unreadable.",
    ),
    ActionKind("CREATE_CLUSTER", _CLUSTERS, ACCOUNT, "CREATE", "medium", "A cluster was created."),
    ActionKind(
        "REQUEST_CLUSTER_DELETE",
        _CLUSTERS,
        ACCOUNT,
        "DELETE",
        "critical",
        "Deletion of a cluster was requested and awaits confirmation: the last chance to stop it.",
    ),
    ActionKind("DELETE_CLUSTER", _CLUSTERS, ACCOUNT, "DELETE", "critical", "A cluster was deleted, with its data."),
    ActionKind("ADD_NODE", _CLUSTERS, ACCOUNT, "CREATE", "low", "A node was added to a cluster."),
    ActionKind(
        "ADD_DATA_CENTRE",
        _CLUSTERS,
        ACCOUNT,
        "CREATE",
        "medium",
        "A data centre was added to a cluster; data may now lie in another region.",
    ),
    ActionKind(
        "CHANGE_CLUSTER_SETTINGS",
        _CLUSTERS,
        ACCOUNT,
        "UPDATE",
        "medium",
        "A cluster's settings were changed; who must confirm its deletion is among them.",
    ),
    ActionKind(
        "RESIZE_CDC", _CLUSTERS, ACCOUNT, "UPDATE", "low", "The nodes of a cluster's data centre are being resized."
    ),
    ActionKind(
        "CANCEL_RESIZE_CDC",
        _CLUSTERS,
        ACCOUNT,
        "UPDATE",
        "low",
        "The resizing of a cluster's data centre was cancelled.",
    ),
    ActionKind(
        "RETRY_RESIZE_CDC",
        _CLUSTERS,
        ACCOUNT,
        "UPDATE",
        "info",
        "The resizing of a cluster's data centre was tried again.",
    ),
    ActionKind("RESTART_BUNDLE", _CLUSTERS, ACCOUNT, "UPDATE", "medium", "An application on a cluster was restarted."),
    ActionKind(
        "RECONFIGURE_BUNDLE",
        _CLUSTERS,
        ACCOUNT,
        "UPDATE",
        "medium",
        "The configuration of an application on a cluster was changed.",
    ),
    ActionKind(
        "RELOAD_BUNDLE", _CLUSTERS, ACCOUNT, "UPDATE", "low", "An application on a cluster reloaded its configuration."
    ),
    ActionKind(
        "MIGRATE_FROM_AZURE_TO_AZUREAZ",
        _CLUSTERS,
        ACCOUNT,
        "UPDATE",
        "low",
        "A cluster moved to Azure availability zones.",
    ),
    ActionKind(
        "MANAGED_IDENTITY_MIGRATION_ENABLE",
        _CLUSTERS,
        ACCOUNT,
        "UPDATE",
        "medium",
        "A cluster's move to managed cloud identities was switched on.",
    ),
    ActionKind(
        "MANAGED_IDENTITY_MIGRATION_DISABLE",
        _CLUSTERS,
        ACCOUNT,
        "UPDATE",
        "medium",
        "A cluster's move to managed cloud identities was switched off.",
    ),
    ActionKind(
        "CHANGE_CLUSTER_FIREWALL_RULES",
        _NETWORK,
        ACCOUNT,
        "UPDATE",
        "high",
        "The addresses that may reach a cluster were changed.",
    ),
    ActionKind(
        "CREATE_VPC_PEERING_REQUEST",
        _NETWORK,
        ACCOUNT,
        "CREATE",
        "high",
        "A peering between a cluster's network and another one was requested.",
    ),
    ActionKind(
        "EDIT_VPC_PEERING_REQUEST", _NETWORK, ACCOUNT, "UPDATE", "medium", "A request for network peering was changed."
    ),
    ActionKind(
        "DELETE_VPC_PEERING_REQUEST",
        _NETWORK,
        ACCOUNT,
        "DELETE",
        "medium",
        "A network peering, or the request for it, was removed.",
    ),
    ActionKind(
        "PRIVATE_LINK_MIGRATION_ENABLE",
        _NETWORK,
        ACCOUNT,
        "UPDATE",
        "medium",
        "A cluster's move to private links was switched on.",
    ),
    ActionKind(
        "PRIVATE_LINK_MIGRATION_DISABLE",
        _NETWORK,
        ACCOUNT,
        "UPDATE",
        "medium",
        "A cluster's move to private links was switched off; public addresses may be open again.",
    ),
    ActionKind("CREATE_KAFKA_TOPIC", _KAFKA, ACCOUNT, "CREATE", "info", "A Kafka topic was created."),
    ActionKind(
        "DISPLAY_KAFKA_TOPIC_CONFIG", _KAFKA, ACCOUNT, "READ", "info", "A Kafka topic's configuration was looked at."
    ),
    ActionKind("DESCRIBE_KAFKA_TOPIC", _KAFKA, ACCOUNT, "READ", "info", "A Kafka topic's description was looked at."),
    ActionKind(
        "EDIT_KAFKA_TOPIC",
        _KAFKA,
        ACCOUNT,
        "UPDATE",
        "low",
        "A Kafka topic's configuration was changed, how long it keeps data perhaps.",
    ),
    ActionKind("DELETE_KAFKA_TOPIC", _KAFKA, ACCOUNT, "DELETE", "high", "A Kafka topic was deleted, with its data."),
    ActionKind("LIST_KAFKA_ACLS", _KAFKA, ACCOUNT, "READ", "info", "Kafka access rules were listed."),
    ActionKind("CREATE_KAFKA_ACLS", _KAFKA, ACCOUNT, "CREATE", "high", "Kafka access rules were added."),
    ActionKind(
        "DELETE_KAFKA_ACLS",
        _KAFKA,
        ACCOUNT,
        "DELETE",
        "medium",
        "Kafka access rules were removed; one of them may have been a ban.",
    ),
    ActionKind(
        "ENABLE_KAFKA_TIERED_STORAGE", _KAFKA, ACCOUNT, "UPDATE", "low", "Tiered storage was switched on for Kafka."
    ),
    ActionKind(
        "LIST_BUNDLE_USERS", _BUNDLE_USERS, ACCOUNT, "READ", "low", "The database users of a cluster were listed."
    ),
    ActionKind(
        "CREATE_BUNDLE_USER", _BUNDLE_USERS, ACCOUNT, "CREATE", "high", "A database user was created on a cluster."
    ),
    ActionKind(
        "EDIT_BUNDLE_USER",
        _BUNDLE_USERS,
        ACCOUNT,
        "UPDATE",
        "high",
        "A database user's password or rights were changed.",
    ),
    ActionKind(
        "DELETE_BUNDLE_USER", _BUNDLE_USERS, ACCOUNT, "DELETE", "medium", "A database user was deleted from a cluster."
    ),
    ActionKind("BACKUP", _BACKUPS, ACCOUNT, "CREATE", "info", "A backup of a cluster was started."),
    ActionKind(
        "RESTORE",
        _BACKUPS,
        ACCOUNT,
        "CREATE",
        "high",
        "A backup was restored: its data now lies in another cluster too.",
    ),
    ActionKind("CREATE_BACKUP_SCHEDULE", _BACKUPS, ACCOUNT, "CREATE", "low", "A schedule of backups was created."),
    ActionKind(
        "DELETE_BACKUP_SCHEDULE",
        _BACKUPS,
        ACCOUNT,
        "DELETE",
        "high",
        "A schedule of backups was deleted: no more backups are taken under it.",
    ),
    ActionKind(
        "ADMIN_SET_ACCESS_LEVEL",
        _ADMIN,
        ACCOUNT,
        "UPDATE",
        "critical",
        "An access level was set, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_ADD_CONFIG_OVERRIDE",
        _ADMIN,
        ACCOUNT,
        "CREATE",
        "medium",
        "A configuration override was added, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_DELETE_CONFIG_OVERRIDE",
        _ADMIN,
        ACCOUNT,
        "DELETE",
        "medium",
        "A configuration override was removed, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_ADD_KAFKA_LISTENER",
        _ADMIN,
        ACCOUNT,
        "CREATE",
        "high",
        "A Kafka listener, a way into the cluster, was added, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_DELETE_KAFKA_LISTENER",
        _ADMIN,
        ACCOUNT,
        "DELETE",
        "medium",
        "A Kafka listener was removed, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_ADD_KAFKA_PRIVATE_LINK_LISTENER",
        _ADMIN,
        ACCOUNT,
        "CREATE",
        "high",
        "A Kafka listener on a private link was added, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_DELETE_KAFKA_PRIVATE_LINK_LISTENER",
        _ADMIN,
        ACCOUNT,
        "DELETE",
        "medium",
        "A Kafka listener on a private link was removed, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_ADD_KAFKA_PRIVATE_LINK_IAM_ROLE",
        _ADMIN,
        ACCOUNT,
        "CREATE",
        "high",
        "A cloud role was admitted to a Kafka private link, probably by the vendor's support staff.",
    ),
    ActionKind(
        "ADMIN_DELETE_KAFKA_PRIVATE_LINK_IAM_ROLE",
        _ADMIN,
        ACCOUNT,
        "DELETE",
        "medium",
        "A cloud role was barred from a Kafka private link, probably by the vendor's support staff.",
    ),
)

KINDS: Mapping[str, ActionKind] = {kind.name: kind for kind in _TABLE}

OWN_KINDS: Mapping[str, tuple[str, str, str]] = {
    "_LINKED_ACCOUNT_ADDED": ("CREATE", "high", "Account {name} is linked to the organisation now"),
    "_LINKED_ACCOUNT_REMOVED": (
        "DELETE",
        "critical",
        "Account {name} is no longer linked: its actions are not seen any more",
    ),
    "_LINKED_ACCOUNT_RENAMED": ("UPDATE", "low", "Account {before} is called {name} now"),
    "_LINKED_ACCOUNT_IDP_SYNC_LOST": (
        "UPDATE",
        "high",
        "Account {name} no longer follows the organisation's identity provider",
    ),
}
"""Kinds of records that actionwatch creates for changes that the upstream does not log: operation, severity, description."""
